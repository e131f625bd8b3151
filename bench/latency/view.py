"""What `latency` measured, as JSON for programs and as a section for people."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..core.document import Curves, Part, Result, Section, Table, between, known, milliseconds, share
from ..core.results import header
from ..core.stores import store_name
from ..core.timing import P999_NEEDS, Noise
from ..core.workload import Workload
from .cold import Cold
from .open_loop import Rate
from .stages import Stages
from .sweep import Curve

_TARGET = 0.99


@dataclass(frozen=True)
class Found:
    """All that was measured, and the field, numbers of threads and rounds it was measured with.

    `curves` has one for each store, `rates` the open loops of each (nothing if that was not asked for), `cold` one for
    each embedded store.
    """

    field: str
    threads: list[int]
    rounds: int
    curves: list[Curve]
    noise: Noise
    rates: list[list[Rate]]
    cold: list[Cold]
    stages: list[Stages]


def latency_json(workload: Workload, found: Found) -> dict[str, Any]:
    """Return the result as plain JSON values; what failed says why, and has null for figures."""
    result = header(workload, "latency")
    settings = {**result["settings"], "threads": found.threads, "rounds": found.rounds, "field": found.field}
    figures = {name: value for name, value in asdict(found).items() if name not in (*settings, "rates")}
    rates = [
        {"store": curve.store, "rates": [asdict(one) for one in part]}
        for curve, part in zip(found.curves, found.rates, strict=False)
    ]
    notes = [*result["notes"], *latency_notes(found)]
    return {**result, "settings": settings, "notes": notes, **figures, "open_loop": rates}


def latency_notes(found: Found) -> list[str]:
    """Return what one has to know to read the figures."""
    notes = [
        f"All stores and widths took {found.rounds} turns, in an order drawn anew each time, after an untimed pass that"
        " gave the recall. A point is on the front (*) if no other width of the store has both more recall and a lower"
        " median.",
        f"p99.9 is given where {P999_NEEDS:,} searches or more were timed.",
        *found.noise.notes(),
    ]
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


def latency_section(result: Result, command: str = "") -> Section:
    """Return the section of a result of `latency`."""
    k = result["settings"]["k"]
    curves = {
        f"{store_name(curve['store'])} ({curve['knob'] or 'scan'})": [
            ((point["ann_recall_at_k"]["mean"], 1000 / point["search_ms"]["median"]), point["on_front"])
            for point in curve["points"]
            if not point["failed"]
        ]
        for curve in result["curves"]
    }
    words = f"Recall@{k} against searches a second, by store; points on the Pareto front are joined"
    parts: list[Part] = [Curves("recall-qps", words, f"recall@{k}", "searches a second, one client", curves, _TARGET)]
    parts += [_curve(curve, k) for curve in result["curves"]]
    for curve in result["curves"]:
        rows = [[f"{one['effort'] or '-'}", *row] for one in curve["points"] for row in filtered_rows(one["filtered"])]
        if rows:
            columns = [curve["knob"] or "scan", *filtered_columns(k)]
            parts.append(Table(f"{store_name(curve['store'])}, within a class", columns, rows))
    parts += [_rates(one) for one in result["open_loop"] if one["rates"]]
    if result["cold"]:
        rows = [
            [
                store_name(one["store"]),
                *(milliseconds(one[name]["median"]) for name in ("open_ms", "first_ms", "next_ms", "warm_ms")),
            ]
            for one in result["cold"]
        ]
        columns = ["store", "opening", "first search", "the next 99, median", "then, median"]
        parts.append(Table("Cold, in milliseconds", columns, rows))
    if result["stages"]:
        parts.append(_stages(result["stages"]))
    failed = [
        f"{store_name(curve['store'])}, {curve['knob']} {point['effort']}: failed: {point['failed']}"
        for curve in result["curves"]
        for point in curve["points"]
        if point["failed"]
    ]
    question = f"{result['collection']}: recall against speed at every width of search, never one without the other."
    return Section("How fast is each store?", question, command, parts, [*result["notes"], *failed])


def _curve(curve: Mapping[str, Any], k: int) -> Table:
    good = [point for point in curve["points"] if not point["failed"]]
    threads = [load["threads"] for load in good[0]["loads"]] if good else []
    columns = [curve["knob"] or "scan", f"recall@{k}", "p5", "min", "median", "p95", "p99", "p99.9", "raw call"]
    columns += ["ours / raw", *(f"searches/s, {count} thr." for count in threads)]
    rows = [
        [
            f"{point['effort'] or '-'}{' *' if point['on_front'] else ''}",
            *(share(point["ann_recall_at_k"][name]) for name in ("mean", "p5", "worst")),
            *(milliseconds(point["search_ms"][name]) for name in ("median", "p95", "p99", "p999")),
            milliseconds(point["raw_ms"]["median"] if point["raw_ms"] else None),
            known(point["ratio"], ".2f"),
            *(
                f"{rate['median']:,.0f} ({between(rate, ',.0f')})"
                for rate in (load["searches_per_second"] for load in point["loads"])
            ),
        ]
        for point in good
    ]
    shown = [name for name in columns if name not in ("p99.9", "raw call")]
    return Table(f"{store_name(curve['store'])}, milliseconds of a search by one client", columns, rows, shown)


def filtered_columns(k: int) -> list[str]:
    """Return the columns of `filtered_rows`."""
    return ["filter", "points", f"recall@{k}", "p5", "min", "median", "p95", "p99", "/ unfiltered"]


def filtered_rows(filtered: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return a row for each class that was searched in."""
    return [
        [
            f"{one['field']}={one['value']}",
            f"{one['share']:.1%}",
            *(share(one["ann_recall_at_k"][name]) for name in ("mean", "p5", "worst")),
            *(milliseconds(one["search_ms"][name]) for name in ("median", "p95", "p99")),
            f"{one['ratio']:.2f}",
        ]
        for one in filtered
    ]


def _rates(one: Mapping[str, Any]) -> Table:
    columns = ["of its best", "due/s", "answered/s", "response median", "p95", "p99", "p99.9", "service p99", "late"]
    rows = []
    for rate in one["rates"]:
        first = [f"{rate['share']:.0%}", f"{rate['due_per_second']:,.0f}"]
        if rate["failed"]:
            rows.append([*first, f"failed: {rate['failed']}", *[""] * 6])
            continue
        rows.append(
            [
                *first,
                f"{rate['answered_per_second']:,.0f}",
                *(milliseconds(rate["response_ms"][name]) for name in ("median", "p95", "p99", "p999")),
                milliseconds(rate["service_ms"]["p99"]),
                milliseconds(rate["late_ms"]),
            ]
        )
    threads = one["rates"][0]["threads"]
    return Table(f"{store_name(one['store'])}: open loop, {threads} threads, in milliseconds", columns, rows)


def _stages(stages: Sequence[Mapping[str, Any]]) -> Table:
    rows = [
        [
            store_name(one["store"]),
            *(milliseconds(one["parts_ms"][name]) for name in ("decode", "preprocess", "model")),
            *(milliseconds(one[name]) for name in ("transport_ms", "search_ms", "protocol_ms")),
            *(f"{one['shares'].get(name, 0):.1%}" for name in ("embedding", "transport")),
            f"{one['shares']['search'] + one['shares'].get('protocol', 0):.1%}",
        ]
        for one in stages
    ]
    columns = ["store", "decode", "preprocess", "model", "transport", "engine", "protocol"]
    return Table(
        "One question from file to hits: milliseconds, and shares of its time",
        [*columns, "embedding", "transport ", "search"],
        rows,
    )
