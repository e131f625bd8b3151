"""All that one run shows of the stores: recall, speed, filters, size, and searching beside an ingest."""

from collections.abc import Sequence
from dataclasses import dataclass

from cbir.settings import Settings
from cbir.terminal import Advance

from ..accuracy.classes import SHARES, choose_classes
from ..core.workload import Subject
from ..ingest import footprint
from ..ingest.footprint import Footprint
from . import measure, search_during_ingest
from .measure import Latency
from .search_during_ingest import Beside


@dataclass(frozen=True)
class Found:
    """What was measured.

    Attributes:
        field: Whose values were filtered by.
        threads: Numbers of client threads.
        rounds: Turns of each store.
        latencies: One for each store.
        footprints: One for each embedded store.
        beside: One for each index folder; nothing if that was not asked for.
    """

    field: str
    threads: list[int]
    rounds: int
    latencies: list[Latency]
    footprints: list[Footprint]
    beside: list[Beside]


def steps(subject: Subject, threads: Sequence[int], rounds: int) -> int:
    """Return how many steps `measure_stores` will report at most."""
    return len(subject.queries) * len(subject.stores) * (1 + len(SHARES) + rounds * (1 + len(threads)))


def measure_stores(
    subject: Subject,
    field: str,
    threads: Sequence[int],
    rounds: int,
    source: str | None,
    settings: Settings,
    advance: Advance,
) -> Found:
    """Measure all stores; `advance` hears of each batch of searches.

    Args:
        subject: The open stores and the queries.
        field: Whose values to filter by.
        threads: Numbers of client threads.
        rounds: Turns of each store.
        source: What to ingest meanwhile, with options behind it; None: that is not measured.
        settings: To open stores with.
        advance: Told of searches.

    Raises:
        CbirError: A store gave an impossible answer, or an ingest failed.
    """
    found = search_during_ingest.measure(subject, source, max(threads), settings) if source else []
    sizes = [footprint.measure(info, subject.queries, subject.k) for info in subject.infos]
    classes = choose_classes(subject, field)
    latencies = measure.measure(subject, classes, threads, rounds, advance)
    return Found(field, list(threads), rounds, latencies, [size for size in sizes if size], found)
