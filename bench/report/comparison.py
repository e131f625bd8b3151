"""What changed from one report to another beyond what chance does, by the figures that two runs can be compared by."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from cbir.errors import CbirError
from cbir.evaluation.result_files import model_name

from ..core.console import new_console, print_table
from ..core.document import Result, Table, known
from ..core.stores import store_name

Better = Literal["higher", "lower"]
Verdict = Literal["better", "worse", "the same", "within noise"]
_ORDER: tuple[Verdict, ...] = ("worse", "better", "within noise", "the same")


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        name: What it is: the benchmark, of what, and which; the same in every run.
        value: The figure.
        low: Where chance may have it at the lowest: of a time the lowest round, of a mean over queries its interval.
        high: At the highest.
        unit: What it is counted in, "" for a share.
        better: Which way is better.
    """

    name: str
    value: float
    low: float
    high: float
    unit: str
    better: Better


def figures(result: Result) -> list[Figure]:
    """Return the figures of one result of `cbir-bench`; none of a benchmark that has none to compare."""
    kind = str(result.get("benchmark"))
    with reading(kind):
        return list(_READERS[kind](result)) if kind in _READERS else []


@contextmanager
def reading(kind: str) -> Iterator[None]:
    """Turn what a result lacks that this version reads of its kind into one error."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise CbirError(
            f"the result of {kind} was made by another version of cbir ({error!r}); measure it again"
        ) from None


def _spread(name: str, spread: Mapping[str, float] | None, unit: str, better: Better) -> Iterator[Figure]:
    if spread is not None:
        yield Figure(name, spread["median"], spread["lowest"], spread["highest"], unit, better)


def _fixed(name: str, value: float | None) -> Iterator[Figure]:
    """Yield a share that the same index gives for the same queries every time."""
    if value is not None:
        yield Figure(name, value, value, value, "", "higher")


def _latency(result: Result) -> Iterator[Figure]:
    for curve in result["curves"]:
        for point in curve["points"]:
            if point["failed"]:
                continue
            name = f"latency / {store_name(curve['store'])} / {curve['knob'] or 'scan'} {point['effort'] or ''}".strip()
            yield from _fixed(f"{name} / recall", point["ann_recall_at_k"]["mean"])
            yield from _spread(f"{name} / median", point["medians_ms"], "ms", "lower")
            for load in point["loads"]:
                yield from _spread(
                    f"{name} / {load['threads']} threads", load["searches_per_second"], "searches/s", "higher"
                )


def _models(result: Result) -> Iterator[Figure]:
    for one in result["models"]:
        for case in one["cases"]:
            name = f"models / {model_name(one['model'], one['precision'])} / {case['provider']} / batch {case['batch']}"
            yield from _spread(name, case["ms_an_image"], "ms an image", "lower")


def _ingest(result: Result) -> Iterator[Figure]:
    for one in result["models"]:
        yield from _embedding("ingest", one)


def _embedding(kind: str, measured: Mapping[str, Any]) -> Iterator[Figure]:
    for part in measured["parts"]:
        yield from _spread(
            f"{kind} / {measured['model']} / {part['name']}", part["images_per_second"], "images/s", "higher"
        )


def _parity(result: Result) -> Iterator[Figure]:
    for one in result["oracle"]:
        yield from _fixed(
            f"parity / {store_name(one['store'])} / {one['mode']} / recall", one["ann_recall_at_k"]["mean"]
        )
    for pair in result["pairs"]:
        names = " and ".join(map(store_name, pair["stores"]))
        yield from _fixed(f"parity / {names} / {pair['mode']} / overlap", pair["overlap_at_k"]["mean"])


def _accuracy(result: Result) -> Iterator[Figure]:
    for one in result["models"]:
        for metric, value in one["metrics"].items():
            low, high = one["intervals"][metric]
            yield Figure(
                f"accuracy / {model_name(one['name'], one['precision'])} / {metric}", value, low, high, "", "higher"
            )


def _peers(result: Result) -> Iterator[Figure]:
    for one in result["embedding"] or ():
        yield from _embedding("peers", one)
    for one in (result["search"] or {}).get("candidates", ()):
        spent = one.get("at_recall") and one["at_recall"]["median_ms"]
        yield from _spread(f"peers / {one['name']} / median at equal recall", spent, "ms", "lower")


_READERS: Mapping[str, Callable[[Result], Iterator[Figure]]] = {
    "accuracy": _accuracy,
    "ingest": _ingest,
    "latency": _latency,
    "models": _models,
    "parity": _parity,
    "peers": _peers,
}


@dataclass(frozen=True)
class Change:
    """One figure in both reports; `relative` is the change by the first value, None where that is 0."""

    before: Figure
    after: Figure
    relative: float | None
    verdict: Verdict


@dataclass(frozen=True)
class Comparison:
    """All figures of two reports: those that both have, by name, and the names that only one has."""

    changes: list[Change]
    only_before: list[str]
    only_after: list[str]


def compare(before: Sequence[Figure], after: Sequence[Figure]) -> Comparison:
    """Compare two reports, figure by figure.

    A change is one if the two intervals have nothing in common: rounds of a time, 95 % of a mean over queries. That
    asks for more than a test of the difference would, so a small change may go unseen, and chance is seldom taken for
    one; of a hundred figures one or two still may be.
    """
    first, second = ({one.name: one for one in figures} for figures in (before, after))
    changes = [_change(first[name], second[name]) for name in first if name in second]
    return Comparison(
        changes, [name for name in first if name not in second], [name for name in second if name not in first]
    )


def _change(before: Figure, after: Figure) -> Change:
    relative = (after.value - before.value) / abs(before.value) if before.value else None
    if before.value == after.value:
        verdict: Verdict = "the same"
    elif before.low <= after.high and after.low <= before.high:
        verdict = "within noise"
    else:
        verdict = "better" if (after.value > before.value) == (after.better == "higher") else "worse"
    return Change(before, after, relative, verdict)


def show_comparison(found: Comparison, every: bool) -> None:
    """Print what changed beyond noise, the worse first, or `every` figure; and how many did not."""
    console = new_console()
    shown = [one for one in found.changes if every or one.verdict in ("worse", "better")]
    if shown:
        rows = [
            [one.before.name, _figure(one.before), _figure(one.after), known(one.relative, "+.1%"), one.verdict]
            for one in sorted(shown, key=lambda one: (_ORDER.index(one.verdict), -abs(one.relative or 0)))
        ]
        print_table(console, Table("", ["figure", "before", "after", "change", ""], rows))
    counts = Counter(one.verdict for one in found.changes)
    console.print(", ".join(f"{counts[verdict]:,} {verdict}" for verdict in _ORDER) + f", of {len(found.changes):,}")
    console.print(
        "A figure has changed if the two intervals (the rounds of a time, 95 % of a mean over queries) have nothing in"
        " common; of a hundred figures chance may still move one or two."
    )
    for names, which in ((found.only_before, "first"), (found.only_after, "second")):
        if names:
            console.print(f"Only in the {which}: {len(names):,} figures, {names[0]!r} for one.")


def _figure(figure: Figure) -> str:
    return f"{figure.value:.4g} {figure.unit}".rstrip() + f" ({figure.low:.4g} - {figure.high:.4g})"
