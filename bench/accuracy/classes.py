"""The same queries asked for within a class of the collection: a filter, and the exact answers that hold to it."""

from dataclasses import dataclass, replace

import numpy as np

from cbir.filters.conditions import Match, Value, matches
from cbir.search.query import entries

from ..core.ground_truth import answer
from ..core.workload import Subject

SHARES = (0.02, 0.40)
"""Of the points: a class among so few that a graph hardly finds it, and one that is nearly half of everything."""


@dataclass(frozen=True)
class Class:
    """Points that have one value in a field.

    Attributes:
        field: The payload field.
        value: What they have there.
        points: How many.
        share: Of all points.
        subject: The queries, and the exact answers among these points alone.
    """

    field: str
    value: Value
    points: int
    share: float
    subject: Subject


def choose_classes(subject: Subject, field: str) -> list[Class]:
    """Return the class nearest to each of `SHARES`; none where no value of the field has more than k points.

    Which points are in a class is seen from their payloads, and not asked of any store's filter.
    """
    total = subject.infos[0].count
    counts = [(value, count) for value, count in subject.stores[0].facet(field) if count > subject.k]
    if not counts:
        return []
    chosen = [min(counts, key=lambda one: abs(one[1] / total - share))[0] for share in SHARES]
    payloads = {one.id: one.payload for one in entries(subject.stores[0])}
    found = []
    for value in dict.fromkeys(chosen):
        where = (Match(field, (value,)),)
        ids = list(subject.truth.position)
        rows = np.flatnonzero([matches(payloads[one], where) for one in ids])
        truth = answer(ids, subject.truth.vectors, subject.truth.queries, subject.k, rows)
        found.append(Class(field, value, len(rows), len(rows) / total, replace(subject, truth=truth, where=where)))
    return found
