"""What a library that is measured must be able to do.

The module needs nothing of cbir, as for `cbir.bench.baselines.libraries`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

Hits = list[list[int]]
Job = dict[str, Any]


class Index(Protocol):
    """An index on the disk, open."""

    def use(self, ef: int | None) -> None:
        """Search with this ef from now on."""

    def search(self, vectors: Any, k: int) -> Hits:
        """Return the positions of the k hits of each vector, float32 (Q, D), best first."""

    def add(self, vectors: Any) -> None:
        """Store more vectors, so that they survive the end of this process; their positions go on."""


@dataclass(frozen=True)
class Library:
    """What builds an index in `job["folder"]`, and what opens it.

    `modules` are imported, and `prepare` is called with the job, before anything is timed.
    """

    build: Callable[[Any, Job], None]
    open: Callable[[Job], Index]
    package: str
    description: str
    modules: tuple[str, ...]
    scans: bool = False
    prepare: Callable[[Job], None] = lambda job: None
