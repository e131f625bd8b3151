"""What `stores` measured, as JSON for programs and as a section for people."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..core.document import Part, Result, Section, Table, known, share
from ..core.results import header
from ..core.stores import store_name
from ..core.workload import Workload
from .footprint import Footprint
from .measure import Latency
from .search_during_ingest import MEANWHILE
from .view import filtered_columns, filtered_rows

_SHOWN = 3


@dataclass(frozen=True)
class Found:
    """What was measured, and the field, numbers of threads and rounds it was measured with.

    `latencies` has one for each store, `footprints` one for each embedded store, `beside` one for each index folder
    (nothing if that was not asked for).
    """

    field: str
    threads: list[int]
    rounds: int
    latencies: list[Latency]
    footprints: list[Footprint]
    beside: list[dict[str, Any]]


def stores_json(workload: Workload, found: Found) -> dict[str, Any]:
    """Return the result as plain JSON values; what is undefined or was not measured is null."""
    result = header(workload, "stores")
    settings = {**result["settings"], "threads": found.threads, "rounds": found.rounds, "field": found.field}
    figures = {name: value for name, value in asdict(found).items() if name not in settings}
    return {**result, "settings": settings, "notes": [*result["notes"], *stores_notes(found)], **figures}


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
            "During an ingest: the ingest is another process on the same processors and builds every index of the"
            " folder anew. A thread that finds a new generation published opens it, and others wait for that meanwhile."
        )
    return notes


def stores_section(result: Result, command: str = "") -> Section:
    """Return the section of a result of `stores`."""
    k, latencies = result["settings"]["k"], result["latencies"]
    parts: list[Part] = [_loads(latencies, k), _alone(latencies)]
    filtered = [[store_name(one["store"]), *row] for one in latencies for row in filtered_rows(one["filtered"])]
    if filtered:
        parts.append(Table("Alone and filtered", ["store", *filtered_columns(k)], filtered))
    if result["footprints"]:
        parts.append(_footprints(result["footprints"]))
    parts += [_during(one) for one in result["beside"]]
    notes = [*result["notes"], *(line for one in result["beside"] for line in _taken_up(one))]
    return Section("How do the stores compare?", f"{k} hits each, in milliseconds.", command, parts, notes)


def _loads(latencies: Sequence[Mapping[str, Any]], k: int) -> Table:
    rows = [
        [
            store_name(one["store"]),
            *(share(one["ann_recall_at_k"][name]) for name in ("mean", "p5")),
            f"{load['threads']}",
            *_figures(load["search_ms"], "median", "p95", "p99"),
            f"{load['searches_per_second']:,.0f}",
        ]
        for one in latencies
        for load in one["loads"]
    ]
    columns = ["store", f"recall@{k}", "p5", "threads", "median", "p95", "p99", "searches/s"]
    return Table("Through the store protocol", columns, rows)


def _alone(latencies: Sequence[Mapping[str, Any]]) -> Table:
    names = ("median", "p25", "p75")
    rows = [
        [
            store_name(one["store"]),
            *_figures(one["search_ms"], *names),
            *_figures(one["raw_ms"], *names),
            known(one["ratio"], ".3f"),
        ]
        for one in latencies
    ]
    columns = ["store", "protocol", "p25", "p75", "raw call", "p25", "p75", "protocol / raw"]
    return Table("Alone", columns, rows)


def _footprints(footprints: Sequence[Mapping[str, Any]]) -> Table:
    rows = [
        [
            store_name(one["store"]),
            *(f"{one[name]:,.1f}" for name in ("disk_megabytes", "walked_megabytes")),
            f"{one['share']:.2f}",
            *(
                known(one["memory"] and one["memory"][when][kind], ",.1f")
                for when in ("opened", "searched")
                for kind in ("own", "mapped")
            ),
        ]
        for one in footprints
    ]
    columns = ["store", "disk", "walked", "/ vectors", "opened: own", "+ mapped", "searched: own", "+ mapped"]
    return Table("Size in megabytes", columns, rows)


def _during(found: Mapping[str, Any]) -> Table:
    rows = [
        [
            store_name(one["store"]),
            phase["name"],
            f"{phase['seconds']:.1f}",
            f"{phase['searches']:,}",
            *_figures(phase["search_ms"], "median", "p95", "p99"),
            known(phase["ratio"], ".2f"),
        ]
        for one in found["stores"]
        for phase in one["phases"]
    ]
    title = f"{found['threads']} threads beside an ingest of {found['stored']:,} pictures into {found['points']:,}"
    return Table(title, ["store", "phase", "seconds", "searches", "median", "p95", "p99", "p95 / idle"], rows)


def _taken_up(found: Mapping[str, Any]) -> Iterator[str]:
    for one in found["stores"]:
        after = one["taken_up_ms"]
        taken = "never taken up" if after is None else f"taken up after {after:,.0f} ms"
        yield (
            f"{store_name(one['store'])}: {len(one['errors']):,} errors; p95 of {' and '.join(MEANWHILE)} together"
            f" {known(one['ratio'], '.2f')} times the idle one; the new generation was {taken}."
        )
        yield from one["errors"][:_SHOWN]


def _figures(times: Mapping[str, float] | None, *names: str) -> list[str]:
    return [known(times[name] if times else None, ".3f") for name in names]
