"""The result of `cbir-bench latency`, and how it is shown."""

from collections.abc import Iterator
from dataclasses import dataclass

from cbir.evaluation.sections import CurvePoint, Curves, Section
from cbir.tables import Column, Table

from ..core.rows import recall_columns, table_of, time_columns
from ..core.stores import store_name
from ..core.subject import StoreResult, Subject
from ..core.timing import P999_NEEDS, Noise
from .cold import Cold
from .footprint import Footprint
from .measure import Curve, Point
from .open_loop import OpenLoop
from .search_during_ingest import IngestRun
from .stages import Stages

TARGET = 0.99
_ERRORS = 3
_TIMES = ("median", "p95", "p99")


@dataclass(frozen=True, kw_only=True)
class LatencyResult(StoreResult):
    """How fast each store is.

    Attributes:
        field: Whose values were filtered by.
        threads: Numbers of client threads.
        rounds: Turns of each ef.
        curves: One for each store.
        open_loop: One for each store, if requested.
        cold: One for each embedded store; footprints likewise.
        stages: One for each store, if the collection has a model and thumbnails.
        ingests: Searches during an ingest, one for each index folder, if requested.
    """

    field: str
    threads: list[int]
    rounds: int
    curves: list[Curve]
    noise: Noise
    open_loop: list[OpenLoop]
    cold: list[Cold]
    stages: list[Stages]
    footprints: list[Footprint]
    ingests: list[IngestRun]


def present(result: LatencyResult) -> Section:
    """Return the section that shows a result."""
    series = {
        f"{store_name(curve.store)} ({curve.parameter or 'scan'})": [
            CurvePoint(point.recall, 1000 / point.search_ms.median, point.on_front) for point in curve.points
        ]
        for curve in result.curves
    }
    recall = f"recall@{result.k}"
    caption = f"{recall.capitalize()} against searches a second, by store; points on the Pareto front are joined"
    plot = Curves("latency", caption, recall, "searches a second, one client", series, TARGET)
    tables = [table(result) for table in _TABLES] + [_ingest_table(run) for run in result.ingests]
    return Section(
        title="How fast is each store?",
        subject=f"{result.collection}: {result.points:,} points of {result.model.dimension:,} dimensions,"
        f" {result.queries:,} queries, {result.k} hits each.",
        verdicts=list(_verdicts(result)),
        parts=[plot, *(table for table in tables if table.rows)],
        notes=[*result.notes, *_notes(result)],
    )


def _verdicts(result: LatencyResult) -> Iterator[str]:
    reached = [(store_name(curve.store), point) for curve in result.curves if (point := curve.fastest_at(TARGET))]
    reached.sort(key=lambda pair: pair[1].search_ms.median)
    for name, point in reached[1:]:
        best_name, best = reached[0][0], reached[0][1].search_ms.median
        yield (
            f"{best_name} is {point.search_ms.median / best:.1f} times as fast as {name} at recall {TARGET}: {best:.3g}"
            f" and {point.search_ms.median:.3g} ms a search."
        )
    if len(reached) == 1:
        yield f"{reached[0][0]} takes {reached[0][1].search_ms.median:.3g} ms for a search at recall {TARGET}."
    for curve in result.curves:
        if curve.points and not curve.fastest_at(TARGET):
            recall = max(point.recall for point in curve.points)
            yield f"{store_name(curve.store)} does not reach recall {TARGET}: {recall:.4f} at most."
    for run in result.ingests:
        for store in run.stores:
            ratio = store.phases[1].ratio
            slower = "nothing was answered" if ratio is None else f"the p95 is {ratio:.2f} times that before"
            errors = f"{len(store.errors):,} errors"
            yield f"{store_name(store.store)}: during an ingest of {run.stored:,} images {slower}, with {errors}."


def _curve_table(result: LatencyResult) -> Table:
    points = ((_point_name(curve, point), point) for curve in result.curves for point in curve.points)
    return table_of(
        "Searches by one client",
        "store",
        points,
        (Column("front"), "front_mark"),
        *recall_columns(result.k),
        (Column("median", "ms", ".3g", better="lower"), "medians_ms"),
        *time_columns("search_ms", "p95", "p99", "p999"),
        (Column("raw", "ms", ".3g"), "raw_ms.median"),
        (Column("/ raw", format=".2f"), "ratio"),
    )


def _load_table(result: LatencyResult) -> Table:
    loads = (
        (f"{_point_name(curve, point)}, {load.threads} client{'s' * (load.threads > 1)}", load)
        for curve in result.curves
        if (point := curve.default_point)
        for load in point.loads
    )
    rate = Column("searches/s", format=",.0f", better="higher")
    title = "Searches by several clients at once"
    return table_of(title, "store", loads, (rate, "searches_per_second"), *time_columns("search_ms", *_TIMES))


def _filter_table(result: LatencyResult) -> Table:
    parts = (
        (f"{_point_name(curve, point)}, {part.field}={part.value}", part)
        for curve in result.curves
        for point in curve.points
        for part in point.filtered
    )
    return table_of(
        "Filtered searches",
        "store and filter",
        parts,
        (Column("points", format=".1%"), "share"),
        *recall_columns(result.k),
        *time_columns("search_ms", *_TIMES),
        (Column("/ unfiltered", format=".2f"), "ratio"),
    )


def _open_loop_table(result: LatencyResult) -> Table:
    return table_of(
        f"Open loop, {max(result.threads)} threads",
        "store",
        (
            (f"{store_name(loop.store)}, {rate.share:.0%} of its best", rate)
            for loop in result.open_loop
            for rate in loop.rates
        ),
        (Column("due/s", format=",.0f"), "due_per_second"),
        (Column("answered/s", format=",.0f"), "answered_per_second"),
        *time_columns("response_ms", *_TIMES, "p999"),
        (Column("service p99", "ms", ".3g"), "service_ms.p99"),
        (Column("late", "ms", ".3g"), "late_ms"),
    )


def _cold_table(result: LatencyResult) -> Table:
    headers = {"opening": "open_ms", "first search": "first_ms", "next 99, median": "next_ms", "then": "warm_ms"}
    columns = [(Column(header, "ms", ".3g", better="lower"), path) for header, path in headers.items()]
    return table_of("Cold start", "store", ((store_name(cold.store), cold) for cold in result.cold), *columns)


def _stage_table(result: LatencyResult) -> Table:
    names = ("decode", "preprocess", "model", "transport", "engine", "protocol")
    return table_of(
        "A search from image file to hits",
        "store",
        ((store_name(stages.store), stages) for stages in result.stages),
        *((Column(name, "ms", ".3g"), f"milliseconds.{name}") for name in names),
        (Column("embedding", format=".0%"), "embedding_share"),
    )


def _size_table(result: LatencyResult) -> Table:
    return table_of(
        "Size",
        "store",
        ((store_name(size.store), size) for size in result.footprints),
        (Column("disk", "MB", ",.1f", better="lower"), "disk_megabytes"),
        (Column("walked", "MB", ",.1f"), "walked_megabytes"),
        (Column("/ vectors", format=".2f"), "share"),
        (Column("own memory", "MB", ",.1f"), "own_megabytes"),
        (Column("mapped memory", "MB", ",.1f"), "mapped_megabytes"),
    )


def _ingest_table(run: IngestRun) -> Table:
    return table_of(
        f"During an ingest of {run.stored:,} images into {run.points:,}, {run.threads} threads",
        "store",
        ((f"{store_name(store.store)}, {phase.name}", phase) for store in run.stores for phase in store.phases),
        (Column("time", "s", ".1f"), "seconds"),
        (Column("searches", format=",d"), "searches"),
        *time_columns("search_ms", *_TIMES),
        (Column("p95 / before", format=".2f"), "ratio"),
    )


def _notes(result: LatencyResult) -> Iterator[str]:
    """Yield what a reader must know to read the tables."""
    yield (
        f"All stores and values of ef took {result.rounds} turns, in a new random order each round, after an untimed"
        " pass for the recall. On the front (*): no other ef of the store has both more recall and a lower median."
        f" Median: of the rounds, with the lowest and the highest. p99.9 needs {P999_NEEDS:,} searches. Raw: the"
        " engine's own call, with payloads for Edge and positions alone for FAISS."
    )
    yield (
        "Several clients: each thread has one search after the other, at the store's default ef or the nearest measured"
        " one; --json has every ef. With more threads than processors a search mostly waits."
    )
    yield from result.noise.notes()
    if any(point.filtered for curve in result.curves for point in curve.points):
        yield (
            f"A filter is one value of {result.field!r}. The exact answer is the best of the points that have it in"
            " their payload. The queries are those of the unfiltered search, whatever their class."
        )
    else:
        yield f"No value of {result.field!r} has more than k points, so filters were not measured (see --field)."
    if result.open_loop:
        yield (
            "Closed loop: each client waits for its answer, so nobody searches while a store stalls, and the stall"
            " counts once (coordinated omission). Open loop: searches are due at random moments drawn beforehand"
            " (Poisson), at a share of the best closed loop. A response is timed from the moment a search was due,"
            " service from the moment it began."
        )
    if result.cold:
        yield (
            "Cold: a new process, after the system was asked to remove the index's files from memory where it can be."
            " Opening hashes every file, which reads them all. Medians of the runs."
        )
    if result.stages:
        yield (
            f"From image file to hits: medians of {result.stages[0].images} thumbnails of the collection (at most 192"
            " pixels; a photo takes longer to decode). Transport: fetching a point from a server. Embedding: its share"
            " of the time."
        )
    if result.footprints:
        yield (
            "Disk: the index's files, without the vector log. Walked: the part that every search goes through (the"
            " graph and the quantized or else the whole vectors; all of FAISS), / vectors: by the size of the vectors"
            " as float32. Memory: the growth of a process with the log open when it had opened the index and answered"
            " the queries. Own memory stays; mapped pages of files are freed when memory is short."
        )
    for store in (store for run in result.ingests for store in run.stores):
        taken = "never used" if store.taken_up_ms is None else f"used {store.taken_up_ms:,.0f} ms after publishing"
        yield f"{store_name(store.store)}: the new generation was {taken}. It is built on the same processors."
        yield from store.errors[:_ERRORS]
    parts: list[Curve | OpenLoop] = [*result.curves, *result.open_loop]
    for part in parts:
        yield from (f"{store_name(part.store)}, {failure}" for failure in part.failures)


def _point_name(curve: Curve, point: Point) -> str:
    return (
        f"{store_name(curve.store)}, {curve.parameter} {point.ef}" if point.ef else f"{store_name(curve.store)}, scan"
    )


_TABLES = (
    _curve_table, _load_table, _filter_table, _open_loop_table, _cold_table, _stage_table, _size_table,
)  # fmt: skip
SUBJECT = Subject("latency", LatencyResult, present)
