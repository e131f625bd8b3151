"""What `peers` measured, as JSON for programs and as a section for people."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from cbir.models.runtime import int8_overflows

from ..core.document import Curves, Part, Result, Section, Table, between, known, share
from ..core.results import INT8_NOTE, header
from ..core.workload import Workload
from .search import EF_CONSTRUCT, Candidate, M

_LEAST_SHOWN = 0.8
_COLUMNS = (
    "candidate", "ef", "recall", "p5", "min", "median ms", "lowest - highest", "p95", "p99", "build s", "MB",
    "MB building", "what it is",
)  # fmt: skip


def baselines_json(
    workload: Workload,
    candidates: Sequence[Candidate],
    target: float,
    rounds: int,
    seconds: float,
    embedding: Sequence[Mapping[str, Any]],
    source: str | None,
) -> dict[str, Any]:
    """Return the result as plain JSON values; what was not measured says why, and has null for figures."""
    result = header(workload, "peers")
    result["settings"] |= {"rounds": rounds, "seconds": seconds, "recall": target, "source": source}
    versions = {one.name: one.version for one in candidates if one.version and not one.ours}
    for one in embedding:
        for packages in one["versions"].values():
            versions |= packages
    result["versions"] |= {name: number for name, number in versions.items() if name not in result["versions"]}
    result["search"] = {
        "k": workload.k,
        "recall": target,
        "points": workload.infos[0].count,
        "dimension": workload.infos[0].model.dimension,
        "candidates": [asdict(one) for one in candidates],
        "fastest": fastest(candidates),
        "behind_fastest": behind(candidates),
    }
    result["embedding"] = list(embedding) or None
    result["notes"] += baselines_notes(candidates, bool(embedding))
    return result


def fastest(candidates: Sequence[Candidate]) -> str | None:
    """Return the name of the fastest library, cbir's own stores apart, at the recall; None if none reaches it."""
    medians = _medians([one for one in candidates if not one.ours])
    return min(medians, key=lambda name: medians[name], default=None)


def behind(candidates: Sequence[Candidate]) -> dict[str, float]:
    """Return by store of cbir its median by that of the fastest library, both at the recall; empty without them."""
    medians, best = _medians(candidates), fastest(candidates)
    ours = [one.name for one in candidates if one.ours and one.at_recall]
    return {name: medians[name] / medians[best] for name in ours} if best else {}


def _medians(candidates: Sequence[Candidate]) -> dict[str, float]:
    return {one.name: one.at_recall.median_ms.median for one in candidates if one.at_recall}


def baselines_notes(candidates: Sequence[Candidate], embedded: bool) -> list[str]:
    """Return what one has to know to read the figures."""
    notes = [
        f"Every candidate is a process of its own with the same vectors; graphs have m = {M} and ef_construct ="
        f" {EF_CONSTRUCT}, or what a store of cbir was built with. One client, one query after the other; all widths"
        " of all candidates took turns, in an order drawn anew each round. Times are medians of the rounds.",
        "A store of cbir answers with ids and payloads through the store protocol; the others with positions or ids"
        " alone. Memory is that of the process that searches; while it builds, the vectors it was given are in it too.",
    ]
    if embedded:
        notes.append(
            "Images/s: all ways take turns, an ingest until the last vector is safe in the log. sentence-transformers"
            " runs another, larger model than the others: it is what one gets there for images."
        )
        if int8_overflows():
            notes.append(INT8_NOTE)
    notes += [f"{one.name}: not measured: {one.missing}" for one in candidates if one.missing]
    return notes


def _row(one: Mapping[str, Any], target: float) -> list[str]:
    if one["missing"]:
        return [one["name"], *["-"] * 11, f"not measured: {one['missing']}"]
    at = one["at_recall"]
    if at is None:
        best = max(point["recall"] for point in one["curve"])
        return [one["name"], *["-"] * 8, *_costs(one), f"{one['what']}; recall stays at {best:.4f}, below {target}"]
    spread = at["median_ms"]
    return [
        one["name"],
        str(at["effort"] or "-"),
        *(share(at[name]) for name in ("recall", "recall_p5", "recall_min")),
        f"{spread['median']:.3f}",
        between(spread, ".3f"),
        *(f"{at['search_ms'][name]:.3f}" for name in ("p95", "p99")),
        *_costs(one),
        one["what"],
    ]


def _costs(one: Mapping[str, Any]) -> list[str]:
    return [
        known(one[name], digits)
        for name, digits in (("build_seconds", ",.1f"), ("megabytes", ",.0f"), ("build_megabytes", ",.0f"))
    ]


def search_section(result: Result, command: str = "") -> Section:
    """Return the section of a result of `peers` without its ways from image files to vectors."""
    search = result["search"]
    k, target = search["k"], search["recall"]
    curves = {
        one["name"]: [
            ((point["recall"], 1000 / point["median_ms"]["median"]), True)
            for point in one["curve"]
            if point["recall"] >= _LEAST_SHOWN
        ]
        for one in search["candidates"]
        if not one["missing"]
    }
    ordered = sorted(
        search["candidates"],
        key=lambda one: one["at_recall"]["median_ms"]["median"] if one["at_recall"] else float("inf"),
    )
    rows = [_row(one, target) for one in ordered]
    words = f"Recall@{k} against searches a second, by candidate, at every width of search"
    shown = [name for name in _COLUMNS if name not in ("p5", "min", "p95", "what it is")]
    parts: list[Part] = [
        Table(f"Searching at recall@{k} of at least {target}", _COLUMNS, rows, shown),
        Curves("peers", words, f"recall@{k}", "searches a second, one client", curves, target),
    ]
    if search["behind_fastest"]:
        rows = [[name, f"{ratio:.2f}"] for name, ratio in search["behind_fastest"].items()]
        parts.append(
            Table(f"How many times the median of {search['fastest']}, the fastest library", ["store", "times"], rows)
        )
    title = f"What else could one take? {result['collection']}, {search['points']:,} points"
    question = f"Other libraries with the same {search['dimension']:,}-dimensional vectors and the same files."
    return Section(title, question, command, parts, result["notes"])
