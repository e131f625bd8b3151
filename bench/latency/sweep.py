"""Recall against speed: each store at every width of search, alone and among other clients, filtered and not."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from cbir.errors import CbirError
from cbir.stores.base import Store, StoreInfo
from cbir.terminal import Advance

from ..accuracy.classes import Class
from ..core.noise import Noise, NoiseMeter
from ..core.workload import Subject
from ..ingest.measure import Spread, spread
from ..report.summary import Summary
from .measure import Filtered, Times, at_once, in_turns, recalls_of, times

EFFORTS = {"graph": (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512), "lists": (1, 2, 4, 8, 16, 32, 64, 128)}
KNOBS = {"graph": "ef", "lists": "nprobe"}


@dataclass(frozen=True)
class ClosedLoop:
    """Client threads that each have one search after the other.

    Attributes:
        threads: How many.
        searches_per_second: Of all of them together.
        search_ms: Of a single search.
    """

    threads: int
    searches_per_second: Spread
    search_ms: Times


@dataclass(frozen=True)
class Point:
    """One store at one width of search. What failed has no figures, and says why.

    Attributes:
        effort: The ef of a graph or the nprobe of lists; None for a scan, which has no such knob.
        failed: Why there are no figures, "" if there are.
        ann_recall_at_k: Of the very searches that are timed, against the exact answer.
        search_ms: Of a search through the store protocol by one client.
        medians_ms: Its median in each round.
        raw_ms: The engine's own call with the same parameters; None for a server.
        ratio: Median of the one by the median of the other.
        loads: Closed loops, by the number of client threads.
        filtered: Searches within classes.
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
        store: Its URL.
        access: "graph", "lists" or "scan".
        knob: What `effort` is called there, "" for a scan.
        usual: What it is where nobody says it.
        points: By effort, upwards.
    """

    store: str
    access: str
    knob: str
    usual: int | None
    points: list[Point]


@dataclass
class _Case:
    """What the rounds of one store at one effort have brought."""

    at: int
    effort: int | None
    recalls: list[Summary] = field(default_factory=list)
    singles: list[list[list[float]]] = field(default_factory=list)
    loads: list[list[tuple[list[float], float]]] = field(default_factory=list)
    failed: str = ""


def efforts_of(info: StoreInfo, wanted: Sequence[int], k: int) -> list[int | None]:
    """Return the widths to search a store with: those that are wanted, or the usual ones from k on.

    A graph gives at most ef hits, and the query itself is among them: smaller ones than k + 1 mean nothing.
    """
    if info.access not in KNOBS:
        return [None]
    least = k + 1 if info.access == "graph" else 1
    known = sorted({max(one, least) for one in wanted or EFFORTS[info.access]})
    return list(known)


def steps(subject: Subject, wanted: Sequence[int], classes: int, threads: Sequence[int], rounds: int) -> int:
    """Return how many searches `measure` will report: of each class in turn, and all of one query's calls as one."""
    cases = sum(len(efforts_of(info, wanted, subject.k)) for info in subject.infos)
    return len(subject.queries) * cases * (1 + classes + rounds * (1 + len(threads)))


def measure(
    subject: Subject,
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
        _Case(at, effort) for at, info in enumerate(subject.infos) for effort in efforts_of(info, wanted, subject.k)
    ]
    subjects = [subject, *(one.subject for one in classes)]
    for case in cases:
        try:
            case.recalls = recalls_of(subjects, case.at, advance, case.effort)
        except CbirError as error:
            case.failed = str(error)
    rng = np.random.default_rng(subject.seed)
    meter = NoiseMeter()
    for _ in range(rounds):
        for number in rng.permutation(len(cases)).tolist():
            _take(cases[number], subject, classes, threads, rng, advance)
        meter.look()
    curves = []
    for at, info in enumerate(subject.infos):
        points = [_point(case, classes, threads) for case in cases if case.at == at]
        knob = KNOBS.get(info.access, "")
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
        if point.ann_recall_at_k is None or point.ann_recall_at_k.mean is None or point.search_ms is None:
            return None
        return point.ann_recall_at_k.mean, 1000 / point.search_ms.median

    places = [place(point) for point in points]

    def beaten(mine: tuple[float, float]) -> bool:
        return any(
            other is not None and other != mine and other[0] >= mine[0] and other[1] >= mine[1] for other in places
        )

    return [
        replace(point, on_front=mine is not None and not beaten(mine))
        for point, mine in zip(points, places, strict=True)
    ]


def _take(
    case: _Case,
    subject: Subject,
    classes: Sequence[Class],
    threads: Sequence[int],
    rng: np.random.Generator,
    advance: Advance,
) -> None:
    """Time all queries of a case once."""
    if case.failed:
        return
    store: Store = subject.stores[case.at]
    try:
        single = in_turns(store, subject, classes, rng, advance, case.effort)
        loads = [at_once(store, subject, count, advance, case.effort) for count in threads]
    except CbirError as error:
        case.failed = str(error)
        return
    case.singles.append(single)
    case.loads.append(loads)


def _point(case: _Case, classes: Sequence[Class], threads: Sequence[int]) -> Point:
    if case.failed:
        return Point(case.effort, case.failed)
    merged = [times([one for part in parts for one in part]) for parts in zip(*case.singles, strict=True)]
    search, within, raw = merged[0], merged[1 : 1 + len(classes)], merged[1 + len(classes) :]
    return Point(
        effort=case.effort,
        ann_recall_at_k=case.recalls[0],
        search_ms=search,
        medians_ms=spread([float(np.median(parts[0])) for parts in case.singles]),
        raw_ms=raw[0] if raw else None,
        ratio=search.median / raw[0].median if raw else None,
        loads=[
            ClosedLoop(count, spread([rate for _, rate in parts]), times([one for spent, _ in parts for one in spent]))
            for count, parts in zip(threads, zip(*case.loads, strict=True), strict=True)
        ],
        filtered=[
            Filtered(one.field, one.value, one.points, one.share, recall, spent, spent.median / search.median)
            for one, recall, spent in zip(classes, case.recalls[1:], within, strict=True)
        ],
    )
