"""Queries by example on any store: positives and negatives, diversity, groups, and near-duplicates folded together.

Only what every store offers is used, so all stores answer alike.
"""

import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from cbir.errors import UsageError
from cbir.filters.conditions import Filter, Match, Value, values_of
from cbir.records import Entry, Hit, Vector
from cbir.stores.base import DEFAULT_PARAMS, Records, SearchParams, Store
from cbir.stores.checks import rank, ranked

CANDIDATES = 100
"""The first hits of a diverse result are chosen from this many best hits."""

FEW_GROUPS = 32
"""Up to this many groups are searched one by one."""

TIE = 1e-6
"""Hits whose worths differ by no more are equally good choices: the arithmetic is in single precision."""

NEAR = 0.97
"""Cosine from which two images count as near-duplicates (see `folded`)."""

MOST_EXPANDING = 100
"""A query is expanded by at most so many of its nearest images."""

_BATCH = 1000

Example = str | Vector
"""The id of a stored point, or a vector (D,) of length 1."""

Weighted = tuple[Example, float]
"""An example and its weight, which is above 0."""

AnyHit = TypeVar("AnyHit", bound=Entry)
"""A hit of a store or of a collection."""


@dataclass(frozen=True)
class Query:
    """What to search for. The fields are those of `Collection.search`; `positives` are what hits should resemble."""

    positives: Sequence[Example | Weighted]
    negatives: Sequence[Example | Weighted] = ()
    limit: int = 10
    offset: int = 0
    filter: Filter = ()
    min_score: float | None = None
    expand: int = 0
    diversity: float = 0.0
    group_by: str = ""
    group_size: int = 1
    params: SearchParams = DEFAULT_PARAMS


Group = tuple[Value, list[Hit]]
"""A value of a field, and the best hits that have it."""


def search(store: Store, query: Query) -> list[Hit]:
    """Return the best hits without the stored examples, best first; with a diversity, in the order of choice.

    Pages of one limit have no hit in common and leave none out. Raise `UsageError` if an example does not exist, or an
    option is out of range.
    """
    vector, examples, end = _prepared(store, query)
    size = CANDIDATES if query.diversity else end if query.params.exact else query.limit
    windows = _windows(store, vector, query, examples, size)
    if query.diversity:
        windows = (_diverse(store, vector, hits, query.diversity, end) for hits in windows)
    hits = list(islice(chain.from_iterable(windows), query.offset, end))
    return hits if query.diversity else ranked(hits)


def search_each(store: Store, examples: Sequence[Example], query: Query) -> list[list[Hit]]:
    """Return for each example what `search` returns for it alone, in one call of the store.

    Of the query, the limit, the filter, the minimum score and the parameters count.
    """
    _check(query)
    if not examples:
        return []
    stored = [example if isinstance(example, str) else None for example in examples]
    wanted = query.limit + any(stored)
    vectors = _vectors(store, examples)
    rows = store.search(vectors, wanted, params=query.params, filter=query.filter, min_score=query.min_score)
    return [
        [hit for hit in hits if own is None or hit.id != own][: query.limit]
        for hits, own in zip(rows, stored, strict=True)
    ]


def search_groups(store: Store, query: Query) -> list[Group]:
    """Return the best hits by the values of `query.group_by`: the group with the best hit first.

    A point without a value is in no group; one with a list is in the group of each of its values. Raises what `search`
    raises.
    """
    vector, examples, end = _prepared(store, query)
    return _grouped(store, vector, query, examples, end)[query.offset :]


def example_query(
    store: Store, positives: Sequence[Example | Weighted], negatives: Sequence[Example | Weighted]
) -> Vector:
    """Return the query vector (D,), of length 1, for examples: 2 p - n, of their weighted mean vectors p and n.

    This is Qdrant's "average vector" strategy. Without negatives it is p. The weight of an example without one is 1.
    """
    if not positives:
        raise UsageError("give at least one example of what the hits should be like")
    weighted = _weighted([*positives, *negatives])
    weights = np.array([weight for _, weight in weighted], np.float64)
    if not (np.isfinite(weights) & (weights > 0)).all():
        raise UsageError(
            "the weight of an example must be above 0. Examples that hits should not resemble are `unlike`"
        )
    vectors = _vectors(store, [example for example, _ in weighted])
    last = len(positives)
    if len(weighted) == 1:  # most queries: its mean is itself
        return np.asarray(vectors[0])
    wanted = _mean(vectors[:last], weights[:last])
    query = 2 * wanted - _mean(vectors[last:], weights[last:]) if negatives else wanted
    length = float(np.linalg.norm(query))
    if length < 1e-6:
        raise UsageError("the examples cancel each other out: nothing is similar to all of them")
    return np.asarray(query / length, np.float32)


def _weighted(examples: Sequence[Example | Weighted]) -> list[Weighted]:
    """Return examples with their weights."""
    return [example if isinstance(example, tuple) else (example, 1.0) for example in examples]


def _mean(vectors: Vector, weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the weighted mean (D,) of vectors (n, D). No sum of weights is too large or too small."""
    mean: npt.NDArray[np.float64] = np.average(vectors, axis=0, weights=weights / weights.max())
    return mean


def folded(store: Store, hits: Sequence[AnyHit], min_cosine: float = NEAR) -> list[tuple[AnyHit, list[AnyHit]]]:
    """Return the hits in their order, each with its near-duplicates among the worse hits.

    A hit joins the better hit that it resembles most, if their vectors have at least `min_cosine`. The default was
    measured with EfficientNet-Lite0 on the 40 best hits of 6,000 product photos. All 264 pairs of equal bytes had a
    cosine above 0.9995. Of 79 other pairs from 0.97 on, 63 also looked the same to a perceptual hash (at most 4 of 64
    bits differed); from 0.96 to 0.97 it was 16 %, and from 0.95 to 0.96 11 %.
    """
    vectors = store.vectors([hit.id for hit in hits])
    result: list[tuple[AnyHit, list[AnyHit]]] = []
    kept: list[Vector | None] = []
    for hit, vector in zip(hits, vectors, strict=True):
        cosines = [-1.0 if vector is None or other is None else float(vector @ other) for other in kept]
        best = int(np.argmax(cosines)) if cosines else -1
        if cosines and cosines[best] >= min_cosine:
            result[best][1].append(hit)
        else:
            result.append((hit, []))
            kept.append(vector)
    return result


def entries(store: Records, filter: Filter = ()) -> Iterator[Entry]:
    """Yield every point whose payload matches the filter, in the order of ids."""
    after: str | None = None
    while page := store.scroll(filter, after):
        yield from page
        after = page[-1].id


def mapped_vectors(store: Store) -> npt.NDArray[np.float32]:
    """Return all vectors of a store, float32 (n, D), read-only, in the order of ids.

    They are in a temporary file that is removed with the array, so a large collection needs little memory.
    """
    info = store.info
    shape = (info.count, info.model.dimension)
    if not info.count:
        return np.empty(shape, np.float32)
    ids = (entry.id for entry in entries(store))
    with tempfile.TemporaryFile() as file:
        written = 0
        while batch := list(islice(ids, _BATCH)):
            rows = [vector for vector in store.vectors(batch) if vector is not None]
            file.write(np.stack(rows).tobytes())
            written += len(rows)
        file.flush()
        return np.memmap(file, np.float32, "r", shape=(written, shape[1]))


def _check(query: Query) -> None:
    if not 0 <= query.diversity <= 1:
        raise UsageError(f"the diversity must be from 0 to 1, not {query.diversity}")
    if query.diversity and query.group_by:
        raise UsageError("a diversity does not work with groups; leave out the diversity or group_by")
    for what, value in (("limit", query.limit), ("group size", query.group_size)):
        if value < 1:
            raise UsageError(f"the {what} must be at least 1, not {value}")
    if not 0 <= query.expand <= MOST_EXPANDING:
        raise UsageError(f"a query is expanded by 0 to {MOST_EXPANDING} images, not {query.expand}")
    if query.offset < 0:
        raise UsageError(f"the offset must not be negative, as {query.offset} is")
    if query.min_score is not None and math.isnan(query.min_score):
        raise UsageError("the minimum score must be a number, not nan")
    for name in ("ef", "nprobe"):
        value = getattr(query.params, name)
        if value is not None and value < 1:
            raise UsageError(f"{name} must be at least 1, not {value}")


def _prepared(store: Store, query: Query) -> tuple[Vector, set[str], int]:
    """Return the vector of a checked query, expanded, the ids of its stored examples, and the rank of its last hit."""
    _check(query)
    examples = _weighted([*query.positives, *query.negatives])
    stored = {example for example, _ in examples if isinstance(example, str)}
    vector = example_query(store, query.positives, query.negatives)
    return _expanded(store, vector, query, stored), stored, query.offset + query.limit


def _expanded(store: Store, vector: Vector, query: Query, examples: set[str]) -> Vector:
    """Return the mean of a query vector and of the images that it finds first, of length 1.

    This is the average query expansion of Chum et al., "Total Recall", 2007, without the check of the geometry.
    """
    if not query.expand:
        return vector
    hits = _nearest(store, vector, query, query.expand, examples)
    mean = np.mean([vector, *_vectors(store, [hit.id for hit in hits])], axis=0) if hits else vector
    length = float(np.linalg.norm(mean))
    return np.asarray(mean / length, np.float32) if length > 1e-6 else vector


def _nearest(store: Store, vector: Vector, query: Query, k: int, examples: set[str]) -> list[Hit]:
    """Return the k best hits that are no examples."""
    wanted = k + len(examples)
    (hits,) = store.search(vector[None], wanted, params=query.params, filter=query.filter, min_score=query.min_score)
    return [hit for hit in hits if hit.id not in examples][:k]


def _windows(store: Store, vector: Vector, query: Query, examples: set[str], size: int) -> Iterator[list[Hit]]:
    """Yield the best `size` hits, and then as many as were yielded before, again and again.

    A graph searched for more hits may find a better one that it missed before, and a quantized index orders more of
    them by their full vectors. Such a hit comes in the later window, so that it moves no other to the next page.
    """
    before: set[str] = set()
    most = store.most_hits - len(examples) if store.most_hits else 0
    while True:
        found = _nearest(store, vector, query, size, examples)
        hits = [hit for hit in found if hit.id not in before]
        if len(found) >= size:
            hits = hits[: size - len(before)]
        if hits:
            yield hits
        if len(found) < size:
            return
        before.update(hit.id for hit in hits)
        size = min(2 * size, most) if size < most else 2 * size


def _diverse(store: Store, vector: Vector, hits: list[Hit], diversity: float, count: int) -> list[Hit]:
    """Return at most `count` of the hits by maximal marginal relevance, in the order of choice.

    The next hit is the one with the highest (1 - diversity) * cosine to the query - diversity * highest cosine to a
    hit chosen before (Carbonell and Goldstein, 1998; https://doi.org/10.1145/290941.291025). Of hits that are worth the
    same, the most relevant comes first, then the lowest id.
    """
    vectors = _vectors(store, [hit.id for hit in hits])
    relevance = vectors @ vector
    nearest = np.zeros(len(hits))
    chosen: list[int] = []
    while len(chosen) < min(count, len(hits)):
        worth = (1 - diversity) * relevance - diversity * nearest
        worth[chosen] = -np.inf
        best = int((worth >= worth.max() - TIE).argmax())  # the hits are in order of relevance and id
        cosines = vectors @ vectors[best]
        nearest = np.maximum(nearest, cosines) if chosen else cosines
        chosen.append(best)
    return [hits[index] for index in chosen]


def _grouped(store: Store, vector: Vector, query: Query, examples: set[str], limit: int) -> list[Group]:
    """Return at most `limit` groups, the group with the best hit first."""
    field, size = query.group_by, query.group_size
    values = [value for value, _ in store.facet(field, query.filter, FEW_GROUPS + 1)]
    if len(values) <= FEW_GROUPS:  # each is searched by itself: a rare one may be far from the query
        narrowed = [replace(query, filter=(*query.filter, Match(field, (value,)))) for value in values]
        nearest = [_nearest(store, vector, of_value, size, examples) for of_value in narrowed]
        groups = [(value, hits) for value, hits in zip(values, nearest, strict=True) if hits]
        return sorted(groups, key=partial(_group_rank, field))[:limit]
    best: list[Group] = []
    found: dict[tuple[bool, Value], list[Hit]] = {}  # 1 and True are different values
    for window in _windows(store, vector, query, examples, 4 * query.limit * size):
        for hit in window:
            of_hit = [value for value in values_of(hit.payload, field) if isinstance(value, str | int | float)]
            for key in dict.fromkeys((isinstance(value, bool), value) for value in of_hit):
                found.setdefault(key, []).append(hit)
        best = [(value, hits[:size]) for (_, value), hits in list(found.items())[:limit]]
        if len(best) == limit and all(len(hits) == size for _, hits in best):
            break
    return best


def _group_rank(field: str, group: Group) -> tuple[float, str, int]:
    """Return the sort key of a group: by its best hit; one hit's groups are in the order of its values."""
    value, (best, *_) = group
    return (*rank(best), values_of(best.payload, field).index(value))


def _vectors(store: Store, examples: Sequence[Example]) -> Vector:
    """Return the vectors (n, D) of examples, which are vectors already or ids."""
    ids = [example for example in examples if isinstance(example, str)]
    stored: dict[str, Vector] = {}
    for point_id, vector in zip(ids, store.vectors(ids), strict=True):
        if vector is None:
            raise UsageError(f"{store.info.collection} has no point with the id {point_id}")
        stored[point_id] = vector
    rows = [stored[example] if isinstance(example, str) else example for example in examples]
    return np.stack(rows).astype(np.float32)
