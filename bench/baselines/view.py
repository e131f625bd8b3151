"""What `peers` measured, as tables for people and as JSON for programs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from cbir.models.runtime import int8_overflows

from ..core.workload import Subject
from ..ingest.measure import DURABLE, Measured
from ..report.report import header, new_console, new_table, share
from .search import EF_CONSTRUCT, Candidate, M


def peers_json(
    subject: Subject,
    candidates: Sequence[Candidate],
    target: float,
    rounds: int,
    seconds: float,
    measured: Sequence[Measured],
    source: str | None,
) -> dict[str, Any]:
    """Return the result as plain JSON values; what was not measured says why, and has null for figures."""
    result = header(subject, "peers")
    result["settings"] |= {"rounds": rounds, "seconds": seconds, "recall": target, "source": source}
    versions = {one.name: one.version for one in candidates if one.version and not one.ours}
    for one in measured:
        for packages in one.versions.values():
            versions |= packages
    result["versions"] |= {name: number for name, number in versions.items() if name not in result["versions"]}
    result["search"] = {
        "k": subject.k,
        "recall": target,
        "points": subject.infos[0].count,
        "dimension": subject.infos[0].model.dimension,
        "candidates": [asdict(one) for one in candidates],
        "fastest": fastest(candidates),
        "behind_fastest": behind(candidates),
    }
    result["embedding"] = [asdict(one) for one in measured] or None
    result["notes"] += peers_notes(candidates, bool(measured))
    return result


def fastest(candidates: Sequence[Candidate]) -> str | None:
    """Return the name of the fastest library, cbir's own stores apart, at the recall; None if none reaches it."""
    reached = [one for one in candidates if not one.ours and one.at_recall]
    if not reached:
        return None
    return min(reached, key=lambda one: one.at_recall.median_ms.median if one.at_recall else 0.0).name


def behind(candidates: Sequence[Candidate]) -> dict[str, float]:
    """Return by store of cbir its median by that of the fastest library, both at the recall; empty without them."""
    best = next((one.at_recall for one in candidates if one.name == fastest(candidates)), None)
    if best is None:
        return {}
    return {
        one.name: one.at_recall.median_ms.median / best.median_ms.median
        for one in candidates
        if one.ours and one.at_recall
    }


def peers_notes(candidates: Sequence[Candidate], embedded: bool) -> list[str]:
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
            notes.append(
                "This processor has no VNNI: cbir runs int8 in an exact and slower way here, a peer in the ordinary"
                " one, whose sums overflow."
            )
    notes += [f"{one.name}: not measured: {one.missing}" for one in candidates if one.missing]
    return notes


def search_rows(search: Mapping[str, Any]) -> list[list[str]]:
    """Return a row of figures for each candidate: those that reach the recall first, the fastest on top."""
    ordered = sorted(
        search["candidates"],
        key=lambda one: one["at_recall"]["median_ms"]["median"] if one["at_recall"] else float("inf"),
    )
    return [_row(one, search["recall"]) for one in ordered]


SEARCH_COLUMNS = (
    "candidate", "ef", "recall", "p5", "min", "median ms", "lowest - highest", "p95", "p99", "build s", "MB",
    "MB building", "what it is",
)  # fmt: skip


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
        f"{spread['lowest']:.3f} - {spread['highest']:.3f}",
        *(f"{at['search_ms'][name]:.3f}" for name in ("p95", "p99")),
        *_costs(one),
        one["what"],
    ]


def _costs(one: Mapping[str, Any]) -> list[str]:
    values = (one["build_seconds"], one["megabytes"], one["build_megabytes"])
    return [
        "-" if value is None else f"{value:,.1f}" if at == 0 else f"{value:,.0f}" for at, value in enumerate(values)
    ]


def ahead_rows(embedding: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return rows of how many times as fast as each peer the ingest is, by model."""
    return [
        [
            one["model"],
            ratio["to"],
            f"{ratio['by_clock']['median']:.2f}",
            f"{ratio['by_clock']['lowest']:.2f} - {ratio['by_clock']['highest']:.2f}",
        ]
        for one in embedding
        for ratio in one["ratios"]
        if ratio["of"] == DURABLE
    ]


def show_peers(result: Mapping[str, Any]) -> None:
    """Print the tables."""
    console = new_console()
    search = result["search"]
    table = new_table(f"Searching {search['points']:,} points at recall@{search['k']} {search['recall']}", _SHOWN)
    for row in search_rows(search):
        table.add_row(*row[:3], *row[5:7], row[8], *row[9:12])
    console.print(table)
    for name, ratio in search["behind_fastest"].items():
        console.print(f"{name}: {ratio:.2f} times the median of {search['fastest']}, the fastest library")
    for one in result["embedding"] or ():
        table = new_table(f"{one['model']}, {one['stored']:,} pictures", ["model", "images/s", "low - high", "MB", ""])
        for part in one["parts"]:
            rate = part["images_per_second"]
            if rate is None:
                table.add_row(part["name"], "-", "-", "-", f"not measured: {part['missing']}")
                continue
            memory = part["peak_megabytes"]
            table.add_row(
                part["name"],
                f"{rate['median']:,.1f}",
                f"{rate['lowest']:,.1f} - {rate['highest']:,.1f}",
                "-" if memory is None else f"{memory:,.0f}",
                "",
            )
        console.print(table)
    if result["embedding"]:
        table = new_table("Images/s of the ingest by those of", ["model", "and", "times", "low - high"])
        for row in ahead_rows(result["embedding"]):
            table.add_row(*row)
        console.print(table)
    for note in result["notes"]:
        console.print(note)


_SHOWN = ("candidate", "ef", "recall", "median ms", "low - high", "p99", "build s", "MB", "MB building")
