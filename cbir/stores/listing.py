"""What a catalog reports of each of its collections."""

from dataclasses import dataclass
from typing import Literal

from cbir.models.card import ModelRef

Condition = Literal["ready", "indexing", "unfinished", "damaged"]
Run = Literal["", "running", "interrupted"]


@dataclass(frozen=True)
class CollectionInfo:
    """One collection of a store.

    Example:
        >>> (found,) = cbir.collections("./index")
        >>> found.collection, found.points, found.model, found.condition
        ('photos', 300, 'efficientnet_lite0', 'ready')

    Attributes:
        store: The index folder or server.
        alias: The data set's name if it stands for this collection, "" otherwise.
        points: The number of points, None if it cannot be read.
        megabytes: The space on this machine's disk, None for a server. Files that generations share count once.
        state: "ready", "unfinished", or what is wrong, in words.
        condition: The state in one word. An "indexing" collection can be searched while its index is built.
        run: The state of the ingest that fills it, "" if there is none.
        indexed: The number of points in the index, None for an embedded index.
        made_by: The model with its checksum, None if it cannot be read.
        source: Where its images come from.
        generation: The published generation, "" for a server.
        created: When it was made, ISO 8601 in UTC.
        kinds: The engine of each index.
        commit: The number of the last change of an embedded collection.
        segments: The number of files with changes that its indexes do not have yet; searches scan them.
    """

    collection: str
    store: str
    alias: str = ""
    model: str = ""
    points: int | None = None
    indexes: tuple[str, ...] = ()
    megabytes: int | None = None
    state: str = "ready"
    condition: Condition = "ready"
    run: Run = ""
    indexed: int | None = None
    made_by: ModelRef | None = None
    dataset: str = ""
    source: str = ""
    generation: str = ""
    created: str = ""
    kinds: tuple[str, ...] = ()
    commit: int = 0
    segments: int = 0
