"""The result of `cbir-bench latency`, and how it is shown."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from cbir.evaluation.sections import CurvePoint, Curves, Section

from ..core.rows import typed_table
from ..core.subject import StoreResult, Subject
from ..core.timing import P999_NEEDS, Noise
from ..core.verdicts import NOTE, at_least, compared
from .loops import ClosedLoop, Rate
from .measure import Curve, Filtered, Point
from .opening import Opening, Size
from .search_during_ingest import IngestRun, Phase
from .stages import IMAGES, Stages

TARGET = 0.99
_ERRORS = 3


@dataclass(frozen=True, kw_only=True)
class LatencyResult(StoreResult):
    """How fast each store is, in `rounds` turns of each ef, with numbers of client `threads` and filters of `field`."""

    field: str
    threads: list[int]
    rounds: int
    curves: list[Curve]
    noise: Noise
    ingest: IngestRun | None = None


def present(result: LatencyResult) -> Section:
    """Return the section that shows a result."""
    series = {
        f"{result.name_of(curve.store)} ({curve.parameter or 'scan'})": [
            CurvePoint(point.recall, 1000 / point.search_ms.median, point.on_front) for point in curve.points
        ]
        for curve in result.curves
    }
    recall = f"recall@{result.k}"
    caption = f"{recall.capitalize()} against searches a second, by store; points on the Pareto front are joined"
    plot = Curves("latency", caption, recall, "searches a second, one client", series, TARGET)
    tables = [(typed_table(title, "store", kind, rows(result), result.k), note) for title, kind, rows, note in _TABLES]
    return Section(
        title="How fast is each store?",
        subject=f"{result.collection}: {result.points:,} points of {result.model.dimension:,} dimensions,"
        f" {result.queries:,} queries with {result.k} hits each; {result.rounds} rounds; up to"
        f" {max(result.threads)} clients.",
        verdicts=list(_verdicts(result)),
        parts=[plot, *(table for table, _ in tables if table.rows)],
        notes=[
            *result.notes,
            NOTE,
            *result.noise.notes(),
            *(note for table, note in tables if table.rows),
            *_notes(result),
        ],
    )


def _verdicts(result: LatencyResult) -> Iterator[str]:
    reached = [(result.name_of(curve.store), point) for curve in result.curves if (point := curve.fastest_at(TARGET))]
    reached.sort(key=lambda pair: pair[1].search_ms.median)
    for name, point in reached[1:]:
        best_name, best = reached[0]
        where = f"at recall@{result.k} >= {TARGET}"
        yield from compared(best_name, name, best.rounds_ms, point.rounds_ms, "answers", where)
    if len(reached) == 1:
        yield f"{reached[0][0]} takes {reached[0][1].search_ms.median:.3g} ms for a search at recall {TARGET}."
    for curve in result.curves:
        if curve.points and not curve.fastest_at(TARGET):
            recall = max(point.recall for point in curve.points)
            yield f"{result.name_of(curve.store)} does not reach recall {TARGET}: {at_least(recall)} at most."
    if result.ingest:
        for store in result.ingest.stores:
            ratio = store.phases[1].ratio
            slower = "nothing was answered" if ratio is None else f"the p95 is {ratio:.2f} times that before"
            during = f"during an ingest of {result.ingest.stored:,} images"
            yield f"{result.name_of(store.store)}: {during} {slower}, with {len(store.errors):,} errors."


def _notes(result: LatencyResult) -> Iterator[str]:
    """Yield what failed or was not measured."""
    if not any(point.filtered for curve in result.curves for point in curve.points):
        yield f"No value of {result.field!r} has more than k points, so filters were not measured (see --field)."
    for store in result.ingest.stores if result.ingest else ():
        taken = "never used" if store.taken_up_ms is None else f"used {store.taken_up_ms:,.0f} ms after publishing"
        yield f"{result.name_of(store.store)}: the new generation was {taken}."
        yield from store.errors[:_ERRORS]
    for curve in result.curves:
        yield from (f"{result.name_of(curve.store)}, {failure}" for failure in curve.failures)


def _points(result: LatencyResult) -> list[tuple[str, Curve, Point]]:
    return [
        (f"{result.name_of(curve.store)}, {f'{curve.parameter} {point.ef}' if point.ef else 'scan'}", curve, point)
        for curve in result.curves
        for point in curve.points
    ]


def _of_stores(result: LatencyResult, name: str) -> list[tuple[str, object]]:
    """Return the attribute of each store that has it."""
    values = ((result.name_of(curve.store), getattr(curve, name)) for curve in result.curves)
    return [(store, value) for store, value in values if value]


_TABLES: tuple[tuple[str, type, Callable[[LatencyResult], Iterable[tuple[str, object]]], str], ...] = (
    (
        "Searches by one client",
        Point,
        lambda result: ((name, point) for name, _, point in _points(result)),
        "All stores and values of ef took turns, in a random order each round, after an untimed pass. The recall is"
        " that of the timed searches. A search ends when its hits are there: a server sends their payloads with them,"
        " an embedded store reads ids and payloads when they are used, which is not timed. On the front (*): no other"
        " ef of the store has more recall and a lower median (of the rounds, with their range)."
        f" p99.9 needs {P999_NEEDS:,} searches. Raw: the engine's own call, without payloads for FAISS.",
    ),
    (
        "Searches by several clients at once",
        ClosedLoop,
        lambda result: (
            (f"{name}, {load.threads} client{'s' * (load.threads > 1)}", load)
            for name, curve, point in _points(result)
            if point == curve.default_point
            for load in point.loads
        ),
        "Several clients: each thread has one search after the other, at the store's default ef or the nearest measured"
        " one; --json has every ef. With more threads than processors a search mostly waits.",
    ),
    (
        "Filtered searches",
        Filtered,
        lambda result: (
            (f"{name}, {part.filter}", part) for name, _, point in _points(result) for part in point.filtered
        ),
        "The exact answer to a filtered search is the best of the points that have the value in their payload. The"
        " queries are those of the unfiltered search, whatever their class.",
    ),
    (
        "Open loop",
        Rate,
        lambda result: (
            (f"{result.name_of(curve.store)}, {rate.share:.0%} of its best", rate)
            for curve in result.curves
            for rate in curve.rates
        ),
        "In a closed loop nobody searches while a store stalls, so the stall counts once (coordinated omission). Open"
        " loop: for the most clients, searches are due at random moments drawn beforehand (Poisson), at a share of the"
        " best closed loop. A response is timed from the moment a search was due, service from when it began.",
    ),
    (
        "Cold start",
        Opening,
        lambda result: _of_stores(result, "opening"),
        "Cold: a new process, after the system was asked to remove the index's files from memory where it can be."
        " Opening hashes every file, which reads them all. Medians of the runs.",
    ),
    (
        "A search from image file to hits",
        Stages,
        lambda result: _of_stores(result, "stages"),
        f"From image file to hits: medians of up to {IMAGES} thumbnails of the collection (at most 192 pixels; a photo"
        " takes longer to decode). Transport: fetching a point from a server. Embedding: its share of the time.",
    ),
    (
        "Size",
        Size,
        lambda result: _of_stores(result, "size"),
        "Disk: without the vector log. Walked: what every search goes through (the graph and the quantized or else the"
        " whole vectors; all of FAISS), / vectors: by their size as float32. Memory: the growth of a new process that"
        " opens and searches the index. Mapped pages of files are freed when memory is short, its own memory is not.",
    ),
    (
        "During an ingest",
        Phase,
        lambda result: (
            (f"{result.name_of(store.store)}, {phase.name}", phase)
            for store in (result.ingest.stores if result.ingest else ())
            for phase in store.phases
        ),
        "During an ingest: as many clients as in the largest closed loop search a copy of the index while the command"
        " line fills it, on the same processors.",
    ),
)
SUBJECT = Subject("latency", LatencyResult, present)
