"""The result of `cbir-bench parity`, and how it is shown."""

from collections.abc import Iterator
from dataclasses import dataclass

from cbir.evaluation.sections import Section, Strip, StripImage
from cbir.tables import Cell, Column, Table

from ..core.ranking import RBO_P
from ..core.rows import recall_columns, table_of
from ..core.stores import store_name
from ..core.subject import StoreResult, Subject
from ..core.workload import ORDINARY
from .measure import AgainstTruth, Comparison, StoreAgainstStore

NOTE = (
    f"RBO is the rank-biased overlap, extrapolated (Webber, Moffat and Zobel 2010), p = {RBO_P:g}: 1 for lists that are"
    " the same up to ties, 0 for lists that have nothing in common; the first places count most. The table by k cuts"
    " one answer of k hits: a search for fewer hits may find fewer of them."
)
_DIFFERENCES = 5
_STRIPS = 3


@dataclass(frozen=True, kw_only=True)
class ParityResult(StoreResult):
    """How the stores agree.

    Attributes:
        images: JPEGs in base64 by point, of the queries that differ most and their hits; None if not requested.
    """

    against_truth: list[AgainstTruth]
    pairs: list[StoreAgainstStore]
    images: dict[str, str] | None = None


def present(result: ParityResult) -> Section:
    """Return the section that shows a result."""
    tables = (_truth_table(result), _pair_table(result), _depth_table(result))
    return Section(
        title=f"Do the stores agree? {result.collection}",
        subject=f"{result.queries:,} of {result.points:,} stored images are searched for in each store, {result.k} hits"
        " each.",
        verdicts=list(_verdicts(result)),
        parts=[*(table for table in tables if table.rows), *_strips(result)],
        notes=[*result.notes, *_more_notes(result)],
    )


def _verdicts(result: ParityResult) -> Iterator[str]:
    for pair in result.pairs:
        count = f"{result.queries - pair.different:,} of {result.queries:,} queries have the same hits"
        names = " and ".join(map(store_name, pair.stores))
        if pair.differences:
            yield f"{count} in {pair.mode} search of {names}."
        elif pair.mode == ORDINARY:
            yield f"{'The stores' if len(result.stores) == 2 else names} agree: {count}."
    for store in result.against_truth:
        recall = store.at_k.ann_recall_at_k
        if recall and recall.mean is not None and (store.mode == ORDINARY or recall.mean < 1):
            yield f"{_name(store)}: recall@{result.k} is {recall.mean:.4f}."


def _truth_table(result: ParityResult) -> Table:
    return table_of(
        "Against the exact answer",
        "store",
        ((_name(store), store) for store in result.against_truth),
        (Column("searched"), "searched"),
        *recall_columns(result.k, "at_k.ann_recall_at_k"),
        (Column("queries below 1", format=",d"), "queries_below_one"),
        (Column("score difference", format=".1e"), "at_k.score_difference.worst"),
    )


def _pair_table(result: ParityResult) -> Table:
    metrics = {f"overlap@{result.k}": "overlap_at_k", "RBO": "rbo", "tau-b": "kendall_tau_b"}
    counts = {"identical": "identical", "up to ties": "identical_up_to_ties", "different": "different"}
    return table_of(
        "Store against store",
        "stores",
        ((_name(pair), pair) for pair in result.pairs),
        *((Column(name, format=".4f", better="higher"), f"at_k.{path}.mean") for name, path in metrics.items()),
        *((Column(name, format=",d"), path) for name, path in counts.items()),
        (Column("score difference", format=".1e"), "at_k.score_difference.worst"),
    )


def _depth_table(result: ParityResult) -> Table:
    comparisons: list[Comparison] = [*result.against_truth, *result.pairs]
    metrics = {"recall": "ann_recall_at_k", "overlap": "overlap_at_k", "RBO": "rbo", "tau-b": "kendall_tau_b"}
    rows: list[list[Cell]] = [
        [f"{_name(part)}: {name}", *(getattr(at_depth, metric).mean for at_depth in part.by_k)]
        for part in comparisons
        if part.mode == ORDINARY
        for name, metric in metrics.items()
        if getattr(part.by_k[0], metric) is not None
    ]
    depths = [at_depth.k for at_depth in result.against_truth[0].by_k]
    columns = [Column("mean"), *(Column(f"@{depth}", format=".4f") for depth in depths)]
    return Table("By number of hits", columns, rows)


def _strips(result: ParityResult) -> Iterator[Strip]:
    images = result.images or {}
    for pair in result.pairs if images else ():
        for worst in pair.worst[:_STRIPS]:
            for store, hits in zip(pair.stores, worst.hits, strict=True):
                shown = [StripImage(worst.query.id, images.get(worst.query.id), f"query {worst.query}")]
                for hit in hits:
                    missing = ", missing in the other" if hit.missing else ""
                    shown.append(StripImage(hit.id, images.get(hit.id), f"{hit.rank}: {hit.score:.3f}{missing}"))
                yield Strip(f"{store_name(store)}, {pair.mode}: {worst.query}", shown)


def _more_notes(result: ParityResult) -> Iterator[str]:
    """Yield which queries did not find themselves, and where stores first differ."""
    for store in result.against_truth:
        if store.self_missing:
            yield (
                f"{_name(store)}: {store.self_missing:,} queries are not among their own hits (exact copies came"
                " first, or the search missed them)."
            )
    for pair in result.pairs:
        for difference in pair.differences[:_DIFFERENCES]:
            delta = "where one list has ended" if difference.delta is None else f"by {difference.delta:.1e}"
            yield f"{_name(pair)}: {difference.query} differs at rank {difference.rank} {delta}."
        if pair.different > _DIFFERENCES:
            yield f"{_name(pair)}: {pair.different - _DIFFERENCES:,} more queries differ; --json names all."


def _name(part: Comparison) -> str:
    return f"{' / '.join(map(store_name, part.stores))}, {part.mode}"


SUBJECT = Subject("parity", ParityResult, present)
