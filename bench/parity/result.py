"""The result of `cbir-bench parity`, and how it is shown."""

from collections.abc import Iterator
from dataclasses import dataclass

from cbir.evaluation.sections import Section, Strip

from ..core.ranking import RBO_P
from ..core.rows import typed_table
from ..core.subject import StoreResult, Subject
from ..core.verdicts import at_least
from ..core.workload import ORDINARY
from .measure import AgainstTruth, StoreAgainstStore

NOTE = (
    f"RBO is the rank-biased overlap, extrapolated (Webber, Moffat and Zobel 2010), p = {RBO_P:g}: 1 for lists that are"
    " the same up to ties, 0 for lists that have nothing in common; the first places count most."
)
_DIFFERENCES = 5


@dataclass(frozen=True, kw_only=True)
class ParityResult(StoreResult):
    """How the stores agree.

    Attributes:
        images: The queries that differ most, if requested.
    """

    against_truth: list[AgainstTruth]
    pairs: list[StoreAgainstStore]
    images: list[Strip]


def present(result: ParityResult) -> Section:
    """Return the section that shows a result."""
    truths = ((_truth_name(result, store), store) for store in result.against_truth)
    pairs = ((_pair_name(result, pair), pair) for pair in result.pairs)
    tables = (
        typed_table("Against the exact answer", "store", AgainstTruth, truths, result.k),
        typed_table("Store against store", "stores", StoreAgainstStore, pairs, result.k),
    )
    return Section(
        title=f"Do the stores agree? {result.collection}",
        subject=f"{result.queries:,} queries of {result.points:,} points in each store, {result.k} hits each.",
        verdicts=list(_verdicts(result)),
        parts=[*(table for table in tables if table.rows), *result.images],
        notes=[*result.notes, *_more_notes(result)],
    )


def _verdicts(result: ParityResult) -> Iterator[str]:
    for pair in result.pairs:
        count = f"{result.queries - pair.different:,} of {result.queries:,} queries have the same hits"
        names = " and ".join(map(result.name_of, pair.stores))
        if pair.differences:
            yield f"{count} in {pair.mode} search of {names}."
        elif pair.mode == ORDINARY:
            yield f"{'The stores' if len(result.stores) == 2 else names} agree: {count}."
    for store in result.against_truth:
        recall = store.ann_recall_at_k.mean
        if recall is not None and (store.mode == ORDINARY or recall < 1):
            yield f"{_truth_name(result, store)}: recall@{result.k} is {at_least(recall)}."


def _more_notes(result: ParityResult) -> Iterator[str]:
    """Yield where stores first differ."""
    for pair in result.pairs:
        for query, (rank, delta) in pair.differences[:_DIFFERENCES]:
            how = "where one list has ended" if delta is None else f"by {delta:.1e}"
            yield f"{_pair_name(result, pair)}: {query} differs at rank {rank} {how}."
        if (more := pair.different - _DIFFERENCES) > 0:
            yield f"{_pair_name(result, pair)}: {more:,} more queries differ; --json names all."


def _truth_name(result: ParityResult, part: AgainstTruth) -> str:
    return f"{result.name_of(part.store)}, {part.mode}"


def _pair_name(result: ParityResult, pair: StoreAgainstStore) -> str:
    return f"{' / '.join(map(result.name_of, pair.stores))}, {pair.mode}"


SUBJECT = Subject("parity", ParityResult, present)
