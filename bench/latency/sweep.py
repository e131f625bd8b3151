"""Recall against speed: each store at every width of search, alone and among other clients, filtered and not."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from cbir.errors import CbirError
from cbir.progress import Advance

from ..core.metrics import Summary
from ..core.stores import PARAMETERS, ef_values
from ..core.timing import Noise, NoiseMeter, Spread, Times, spread
from ..core.workload import Workload
from .measure import Case, Class, Filtered


@dataclass(frozen=True)
class ClosedLoop:
    """Client threads that each have one search after the other; see `Load`."""

    threads: int
    searches_per_second: Spread
    search_ms: Times


@dataclass(frozen=True)
class Point:
    """One store at one width of search, with the figures of `Latency`. What failed has none, and says why.

    Attributes:
        effort: The ef of a graph or the nprobe of lists; None for a scan, which has no such knob.
        medians_ms: Its median in each round.
        on_front: Whether no other width of this store has both more recall and more searches a second.
    """

    effort: int | None
    failed: str = ""
    ann_recall_at_k: Summary | None = None
    search_ms: Times | None = None
    medians_ms: Spread | None = None
    raw_ms: Times | None = None
    ratio: float | None = None
    loads: list[ClosedLoop] = field(default_factory=list)
    filtered: list[Filtered] = field(default_factory=list)
    on_front: bool = False


@dataclass(frozen=True)
class Curve:
    """One store.

    Attributes:
        knob: What `effort` is called there, "" for a scan.
        usual: What it is where nobody says it.
    """

    store: str
    access: str
    knob: str
    usual: int | None
    points: list[Point]


def steps(workload: Workload, wanted: Sequence[int], classes: int, threads: Sequence[int], rounds: int) -> int:
    """Return how many searches `measure` will report: of each class in turn, and all of one query's calls as one."""
    cases = sum(len(ef_values(info, wanted, workload.k)) for info in workload.infos)
    return len(workload.queries) * cases * (1 + classes + rounds * (1 + len(threads)))


def measure(
    workload: Workload,
    wanted: Sequence[int],
    classes: Sequence[Class],
    threads: Sequence[int],
    rounds: int,
    advance: Advance,
) -> tuple[list[Curve], Noise]:
    """Return every store's curve, and how noisy the machine was.

    An untimed pass of all queries yields the recall and warms up. Then all stores and widths take turns, in each
    round in an order drawn anew, so that whatever else the machine does falls on all alike.
    """
    cases = [
        Case(workload, classes, threads, at, effort)
        for at, info in enumerate(workload.infos)
        for effort in ef_values(info, wanted, workload.k)
    ]
    for case in cases:
        with _noting_failure(case):
            case.measure_recall(advance)
    rng = np.random.default_rng(workload.seed)
    meter = NoiseMeter()
    for _ in range(rounds):
        for number in rng.permutation(len(cases)).tolist():
            if not cases[number].failed:
                with _noting_failure(cases[number]):
                    cases[number].take(rng, advance)
        meter.look()
    curves = []
    for at, info in enumerate(workload.infos):
        points = [_point(case) for case in cases if case.at == at]
        knob = PARAMETERS.get(info.access, "")
        usual = int(info.options[knob]) if knob in info.options else None
        curves.append(Curve(info.url, info.access, knob, usual, front(points)))
    return curves, meter.noise()


def most_a_second(curve: Curve) -> float | None:
    """Return the most searches a second of a store's closed loops at its usual width, or the next; None if none ran."""
    good = [point for point in curve.points if point.loads]
    if not good:
        return None
    point = min(good, key=lambda one: abs((one.effort or 0) - (curve.usual or 0)))
    return max(load.searches_per_second.median for load in point.loads)


def front(points: Sequence[Point]) -> list[Point]:
    """Return the points, with those marked that no other one beats in both recall and searches a second."""

    def place(point: Point) -> tuple[float, float] | None:
        recall = point.ann_recall_at_k.mean if point.ann_recall_at_k else None
        return None if recall is None or point.search_ms is None else (recall, -point.search_ms.median)

    places = [mine for point in points if (mine := place(point)) is not None]

    def is_on_front(mine: tuple[float, float] | None) -> bool:
        return mine is not None and not any(
            other != mine and other[0] >= mine[0] and other[1] >= mine[1] for other in places
        )

    return [replace(point, on_front=is_on_front(place(point))) for point in points]


@contextmanager
def _noting_failure(case: Case) -> Iterator[None]:
    try:
        yield
    except CbirError as error:
        case.failed = str(error)


def _point(case: Case) -> Point:
    if case.failed:
        return Point(case.effort, case.failed)
    search, raw, ratio, filtered = case.merged()
    return Point(
        effort=case.effort,
        ann_recall_at_k=case.recalls[0],
        search_ms=search,
        medians_ms=spread([float(np.median(parts[0])) for parts in case.singles]),
        raw_ms=raw,
        ratio=ratio,
        loads=[ClosedLoop(count, spread(rates), spent) for count, rates, spent in case.closed_loops()],
        filtered=filtered,
    )
