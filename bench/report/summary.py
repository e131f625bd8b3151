"""One figure for many queries, with the worst of them named."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Query:
    """A query by the id and the key of its point; the key is None if the point never came up in an answer."""

    id: str
    key: str | None

    def __str__(self) -> str:
        return self.key or self.id


@dataclass(frozen=True)
class Summary:
    """A metric over the queries for which it is defined; all None where it is for none.

    Attributes:
        mean: Over the defined ones.
        p5: Value that only 5 in 100 queries are worse than.
        worst: The worst one: the lowest, or the highest where lower is better.
        worst_query: The query it belongs to, the first if there are several.
        undefined: How many queries have no value.
    """

    mean: float | None
    p5: float | None
    worst: float | None
    worst_query: Query | None
    undefined: int


def summarise(
    values: Sequence[float | None], queries: Sequence[Query], better: Literal["higher", "lower"] = "higher"
) -> Summary:
    """Return the summary of a metric, one value (or None, where it is undefined) for each query."""
    defined = [(value, query) for value, query in zip(values, queries, strict=True) if value is not None]
    if not defined:
        return Summary(None, None, None, None, len(values))
    found = np.array([value for value, _ in defined], dtype=np.float64)
    worst = int(found.argmin() if better == "higher" else found.argmax())
    p5 = float(np.percentile(found, 5 if better == "higher" else 95))
    return Summary(float(found.mean()), p5, float(found[worst]), defined[worst][1], len(values) - len(defined))


def named(queries: Sequence[str], keys: Mapping[str, str]) -> list[Query]:
    """Return the queries with their keys."""
    return [Query(one, keys.get(one)) for one in queries]
