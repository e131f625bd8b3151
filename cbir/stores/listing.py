"""What a catalog says of each of its collections."""

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
        collection: Its name.
        store: The index folder or server.
        alias: The name that means it, "" if another collection of its data set was completed later.
        model: Name of its model.
        points: How many, None if it cannot be read.
        indexes: Names of its indexes.
        megabytes: On this machine's disk, without what generations share; None for a server.
        state: "ready", "unfinished", or what is wrong, in words.
        condition: Whether it can be searched, in one word; "indexing": it can, and its index is still being made.
        run: Whether an ingest is filling it now, or was interrupted; "" for neither, and always for a server.
        indexed: Points that are in the index; None for an embedded index, which has to be opened to be asked.
        made_by: The model in full, None if it cannot be read.
        dataset: Name of its data set.
        source: Where its images come from; of the unfinished run, if there is one.
        generation: The one that is served, "" for a server.
        created: When that was made, ISO 8601 in UTC.
        kinds: The kind of each index by its name.
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
