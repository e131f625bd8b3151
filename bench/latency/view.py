"""What `latency` measured, as tables for people and as JSON for programs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from ..core.noise import Noise
from ..core.workload import Subject
from ..ingest.stages import Stages
from ..report.report import header, labels, new_console, new_table, share, short, show_subject
from .cold import Cold
from .measure import P999_NEEDS, Times
from .open_loop import Rate
from .sweep import Curve, Point

BUSY = 0.1


@dataclass(frozen=True)
class Found:
    """All that was measured.

    Attributes:
        field: Whose values were filtered by.
        threads: Numbers of client threads.
        rounds: Turns of each width.
        curves: One for each store.
        noise: Of the machine meanwhile.
        rates: The open loops of each store; nothing if that was not asked for.
        cold: Each embedded store in a process of its own.
        stages: Where the time of a question goes.
    """

    field: str
    threads: list[int]
    rounds: int
    curves: list[Curve]
    noise: Noise
    rates: list[list[Rate]]
    cold: list[Cold]
    stages: list[Stages]


def latency_json(subject: Subject, found: Found) -> dict[str, Any]:
    """Return the result as plain JSON values; what failed says why, and has null for figures."""
    result = header(subject, "latency")
    settings = {**result["settings"], "threads": found.threads, "rounds": found.rounds, "field": found.field}
    figures = asdict(found)
    rates = [
        {"store": curve.store, "rates": [asdict(one) for one in part]}
        for curve, part in zip(found.curves, found.rates, strict=False)
    ]
    return {
        **result,
        "settings": settings,
        "notes": [*result["notes"], *latency_notes(found)],
        **{name: figures[name] for name in ("curves", "noise", "cold", "stages")},
        "open_loop": rates,
    }


def latency_notes(found: Found) -> list[str]:
    """Return what one has to know to read the figures."""
    kernel = found.noise.kernel_ms
    notes = [
        f"All stores and widths took {found.rounds} turns, in an order drawn anew each time, after an untimed pass that"
        " gave the recall. A point is on the front (*) if no other width of the store has both more recall and a lower"
        " median.",
        f"p99.9 is given where {P999_NEEDS:,} searches or more were timed.",
        f"The machine: a matrix product that is always the same took {kernel.lowest:.3f} to {kernel.highest:.3f} ms"
        f" ({kernel.highest / kernel.lowest - 1:.0%} apart); differences smaller than that are noise.",
    ]
    if found.noise.others is not None and found.noise.others > BUSY:
        notes.append(
            f"WARNING: other processes used {found.noise.others:.0%} of the processors; such figures mean little."
        )
    if found.rates:
        notes.append(
            "Closed loop: each client asks again when it has its answer, so nobody asks while a store stalls, and the"
            " stall counts once (coordinated omission). Open loop: searches are due at moments drawn beforehand"
            " (Poisson, the seed's) at a share of the best closed loop; response is from the moment a search was due,"
            " service from the moment it began."
        )
    if found.cold:
        notes.append(
            "Cold: a new process, the index's files dropped from memory first where the system can be asked to; opening"
            " hashes every file, so that it reads them all. Medians of the runs."
        )
    if found.stages:
        notes.append(
            f"Stages: one picture at a time, {found.stages[0].pictures} thumbnails of the collection (at most 192"
            " pixels; a photo takes longer to decode), medians. Transport is what fetching one point from a server"
            " takes; an embedded store is in the process and has none."
        )
    return notes


def show_latency(subject: Subject, found: Found) -> None:
    """Print the tables."""
    console, names = new_console(), labels(subject.infos)
    show_subject(console, subject, names)
    for note in latency_notes(found):
        console.print(note)
    for curve in found.curves:
        _show_curve(console, subject, curve, names[curve.store])
    for curve, rates in zip(found.curves, found.rates, strict=False):
        if rates:
            console.print(_rate_table(rates, names[curve.store]))
    if found.cold:
        console.print(_cold_table(found.cold, names))
    if found.stages:
        console.print(_stage_table(found.stages, names))


def _show_curve(console: Console, subject: Subject, curve: Curve, name: str) -> None:
    good = [point for point in curve.points if not point.failed]
    threads = [load.threads for load in good[0].loads] if good else []
    columns = [curve.knob or "scan", f"recall@{subject.k}", "p5", "min", "median", "p95", "p99", "p99.9", "/ raw"]
    table = new_table(f"{name}: milliseconds alone, and searches a second by client threads", columns)
    for count in threads:
        table.add_column(f"{count} thr.", justify="right")
    for point in good:
        table.add_row(*_cells(point))
    console.print(table)
    filters = new_table(
        f"{name}: within a class",
        [curve.knob or "scan", "filter", "points", f"recall@{subject.k}", "p5", "min", "median", "p95"],
    )
    for point in good:
        for one in point.filtered:
            recall = one.ann_recall_at_k
            filters.add_row(
                *(_effort(point), f"{one.field}={one.value}", f"{one.share:.1%}"),
                *(share(recall.mean), short(recall.p5), short(recall.worst)),
                *(f"{one.search_ms.median:.3f}", f"{one.search_ms.p95:.3f}"),
            )
    if filters.row_count:
        console.print(filters)
    for point in curve.points:
        if point.failed:
            console.print(f"{name}, {curve.knob} {point.effort}: failed: {point.failed}")


def _cells(point: Point) -> list[str]:
    recall, search = point.ann_recall_at_k, point.search_ms
    if recall is None or search is None:
        return []
    return [
        _effort(point) + ("*" if point.on_front else ""),
        share(recall.mean),
        short(recall.p5),
        short(recall.worst),
        *_tail(search),
        "-" if point.ratio is None else f"{point.ratio:.2f}",
        *(f"{load.searches_per_second.median:,.0f}" for load in point.loads),
    ]


def _effort(point: Point) -> str:
    return "-" if point.effort is None else str(point.effort)


def _rate_table(rates: Sequence[Rate], name: str) -> Table:
    columns = ["of the best", "due/s", "answered/s", "median", "p95", "p99", "p99.9", "service p99", "late at the end"]
    table = new_table(f"{name}: open loop, {rates[0].threads} threads, response in milliseconds", columns)
    for one in rates:
        first = (f"{one.share:.0%}", f"{one.due_per_second:,.0f}")
        if one.response_ms is None or one.service_ms is None:
            table.add_row(*first, f"failed: {one.failed}")
        else:
            table.add_row(
                *first,
                f"{one.answered_per_second or 0:,.0f}",
                *_tail(one.response_ms),
                f"{one.service_ms.p99:.3f}",
                f"{one.late_ms or 0:,.1f}",
            )
    return table


def _cold_table(found: Sequence[Cold], names: Mapping[str, str]) -> Table:
    table = new_table(
        "Cold, in milliseconds", ["store", "open", "first search", "next 99: median", "then: median", "files dropped"]
    )
    for one in found:
        table.add_row(
            names[one.store],
            f"{one.open_ms.median:,.0f}",
            *(f"{part.median:.3f}" for part in (one.first_ms, one.next_ms, one.warm_ms)),
            "yes" if one.dropped else "no",
        )
    return table


def _stage_table(found: Sequence[Stages], names: Mapping[str, str]) -> Table:
    columns = ["store", "decode", "preprocess", "model", "transport", "engine", "protocol", "embedding", "search"]
    table = new_table("One question, in milliseconds, and the share of its time", columns)
    for one in found:
        table.add_row(
            names[one.store],
            *(f"{one.parts_ms[name]:.3f}" for name in ("decode", "preprocess", "model")),
            *("-" if part is None else f"{part:.3f}" for part in (one.transport_ms, one.search_ms, one.protocol_ms)),
            f"{one.shares['embedding']:.1%}",
            f"{1 - one.shares['embedding']:.1%}",
        )
    return table


def _tail(times: Times) -> tuple[str, str, str, str]:
    last = "-" if times.p999 is None else f"{times.p999:.3f}"
    return f"{times.median:.3f}", f"{times.p95:.3f}", f"{times.p99:.3f}", last
