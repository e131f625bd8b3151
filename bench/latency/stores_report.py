"""What `stores` measured, as tables for people and as JSON for programs."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from ..core.workload import Subject
from ..ingest.footprint import Footprint, Memory
from ..report.report import header, labels, new_console, new_table, share, short, show_subject
from .measure import Times
from .search_during_ingest import MEANWHILE, Beside
from .stores import Found

_SHOWN = 3


def stores_json(subject: Subject, found: Found) -> dict[str, Any]:
    """Return the result as plain JSON values; what is undefined or was not measured is null."""
    result = header(subject, "stores")
    settings = {**result["settings"], "threads": found.threads, "rounds": found.rounds, "field": found.field}
    notes = [*result["notes"], *stores_notes(found)]
    figures = asdict(found)
    return {
        **result,
        "settings": settings,
        "notes": notes,
        **{name: figures[name] for name in ("latencies", "footprints", "beside")},
    }


def stores_notes(found: Found) -> list[str]:
    """Return what one has to know to read the figures."""
    notes = [
        f"The stores took {found.rounds} turns. Each client thread has one search after the other, so that with eight"
        " of them a search mostly waits: for a processor, or for another search of an engine that has one at a time.",
        "Alone: one client, calls in an order drawn for each query. The protocol checks the query and returns sorted"
        " hits with payload; Edge's raw call finds the payload too, that of FAISS returns positions alone.",
    ]
    if found.latencies[0].filtered:
        notes.append(
            f"A filter is one value of {found.field!r}, and the exact answer is the best of the points that have it in"
            " their payload; the queries are those of the unfiltered search, whatever class they are of."
        )
    else:
        notes.append(f"No value of {found.field!r} has more than k points: filters were not measured (see --field).")
    if found.footprints:
        notes.append(
            "Disk: the index's files, without the vector log; walked: those of them that every search goes through (the"
            " graph and the quantized vectors, or else the whole ones; all of FAISS), beside the size of the vectors as"
            " float32. Memory: what a process grew by that had the log open, when it opened the index and when it had"
            " answered the queries; own stays in memory, mapped are pages of files that the system takes back where"
            " memory is short. With on_disk=1 rescoring reads whole vectors from the disk where they are not in memory;"
            " here they were."
        )
    if found.beside:
        notes.append(
            "Beside an ingest: the ingest is another process on the same processors and builds every index of the"
            " folder anew. A thread that finds a new generation published opens it, and others wait for that meanwhile."
        )
    return notes


def show_stores(subject: Subject, found: Found) -> None:
    """Print the tables."""
    console, names = new_console(), labels(subject.infos)
    show_subject(console, subject, names)
    for note in stores_notes(found):
        console.print(note)
    console.print(_load_table(subject, found, names))
    console.print(_raw_table(found, names))
    if found.latencies[0].filtered:
        console.print(_filter_table(subject, found, names))
    if found.footprints:
        console.print(_footprint_table(found.footprints, names))
    for one in found.beside:
        _show_beside(console, one, names)


def _load_table(subject: Subject, found: Found, names: Mapping[str, str]) -> Table:
    columns = ["store", f"recall@{subject.k}", "p5", "threads", "median", "p95", "p99", "searches/s"]
    table = new_table("Through the store protocol, in milliseconds", columns)
    for one in found.latencies:
        first = [names[one.store], share(one.ann_recall_at_k.mean), short(one.ann_recall_at_k.p5)]
        for load in one.loads:
            rate = f"{load.searches_per_second:,.0f}"
            table.add_row(*first, str(load.threads), *_tail(load.search_ms), rate)
            first = ["", "", ""]
    return table


def _raw_table(found: Found, names: Mapping[str, str]) -> Table:
    table = new_table(
        "Alone, in milliseconds", ["store", "protocol", "p25 - p75", "raw call", "p25 - p75 ", "protocol / raw"]
    )
    for one in found.latencies:
        raw = _middle(one.raw_ms) if one.raw_ms else ("-", "-")
        table.add_row(names[one.store], *_middle(one.search_ms), *raw, "-" if one.ratio is None else f"{one.ratio:.3f}")
    return table


def _filter_table(subject: Subject, found: Found, names: Mapping[str, str]) -> Table:
    columns = ["store", "filter", "points", f"recall@{subject.k}", "p5", "median", "p95", "/ unfiltered"]
    table = new_table("Alone and filtered, in milliseconds", columns)
    for one in found.latencies:
        name = names[one.store]
        for part in one.filtered:
            recall = part.ann_recall_at_k
            table.add_row(
                name,
                f"{part.field}={part.value}",
                f"{part.share:.1%}",
                share(recall.mean),
                short(recall.p5),
                f"{part.search_ms.median:.3f}",
                f"{part.search_ms.p95:.3f}",
                f"{part.ratio:.2f}",
            )
            name = ""
    return table


def _footprint_table(footprints: list[Footprint], names: Mapping[str, str]) -> Table:
    columns = ["store", "disk", "walked", "/ vectors", "opened: own", "+ mapped", "searched: own", "+ mapped "]
    table = new_table("Size in megabytes", columns)
    for one in footprints:
        memory = (*_memory(one.memory.opened), *_memory(one.memory.searched)) if one.memory else ("-",) * 4
        sizes = f"{one.disk_megabytes:,.1f}", f"{one.walked_megabytes:,.1f}", f"{one.share:.2f}"
        table.add_row(names[one.store], *sizes, *memory)
    return table


def _show_beside(console: Console, found: Beside, names: Mapping[str, str]) -> None:
    columns = ["store", "phase", "seconds", "searches", "median", "p95", "p99", "p95 / idle"]
    title = (
        f"{found.threads} threads beside an ingest of {found.stored:,} pictures into {found.points:,}, in milliseconds"
    )
    table = new_table(title, columns)
    for one in found.stores:
        name = names[one.store]
        for phase in one.phases:
            ratio = "-" if phase.ratio is None else f"{phase.ratio:.2f}"
            tail = _tail(phase.search_ms) if phase.search_ms else ("-",) * 3
            table.add_row(name, phase.name, f"{phase.seconds:.1f}", f"{phase.searches:,}", *tail, ratio)
            name = ""
    console.print(table)
    for one in found.stores:
        taken = "never taken up" if one.taken_up_ms is None else f"taken up after {one.taken_up_ms:,.0f} ms"
        ratio = "-" if one.ratio is None else f"{one.ratio:.2f}"
        console.print(
            f"{names[one.store]}: {len(one.errors):,} errors; p95 of {' and '.join(MEANWHILE)} together {ratio} times"
            f" the idle one; the new generation was {taken}."
        )
        for error in one.errors[:_SHOWN]:
            console.print(f"  {error}")


def _tail(times: Times) -> tuple[str, str, str]:
    return f"{times.median:.3f}", f"{times.p95:.3f}", f"{times.p99:.3f}"


def _middle(times: Times) -> tuple[str, str]:
    return f"{times.median:.3f}", f"{times.p25:.3f} - {times.p75:.3f}"


def _memory(memory: Memory) -> tuple[str, str]:
    return f"{memory.own:,.1f}", f"{memory.mapped:,.1f}"
