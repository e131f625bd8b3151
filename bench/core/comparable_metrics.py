"""The figures of a result that two runs can be compared by, each with how far chance alone may move it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cbir.evaluation.result_files import model_name

Better = Literal["higher", "lower"]
Result = Mapping[str, Any]


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
    read = _READERS.get(str(result.get("benchmark")))
    return list(read(result)) if read else []


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
        yield from _spread(f"peers / {one['name']} / median at equal recall", _at_recall(one), "ms", "lower")


def _at_recall(candidate: Mapping[str, Any]) -> Mapping[str, float] | None:
    found = candidate.get("at_recall")
    return found["median_ms"] if found else None


def store_name(url: str) -> str:
    """Return what a store's URL says besides where it is, which differs from machine to machine."""
    if url.startswith("http"):
        return "server"
    kind, _, rest = url.partition(":")
    path, _, options = rest.partition("?")
    last = path.rstrip("/").rpartition("/")[2]
    return kind + (f" {last}" if last not in (kind, "index", "") else "") + (f" {options}" if options else "")


_READERS: Mapping[str, Callable[[Result], Iterator[Figure]]] = {
    "accuracy": _accuracy,
    "ingest": _ingest,
    "latency": _latency,
    "models": _models,
    "parity": _parity,
    "peers": _peers,
}
