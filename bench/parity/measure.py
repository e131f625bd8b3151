"""Do the stores agree: each with the exact answer, and each with the others, in both ways of searching."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from cbir.progress import Advance

from ..core import ranking as compare
from ..core.ground_truth import exact_rankings
from ..core.metrics import Query, Summary, summarise
from ..core.ranking import Ranking, first
from ..core.workload import MODES, Workload, ask, how, recalls_of

DEPTHS = (1, 5, 10, 20, 50, 100)
WORST = 5


@dataclass(frozen=True)
class AtDepth:
    """Two rankings of each query cut to the first k hits; the metrics are those of `ranking`.

    Attributes:
        score_difference: Largest distance between the scores of an id; to the exact answer, of any hit.
        ann_recall_at_k: Share of the k places filled with hits as good as the true k-th neighbour; None between stores.
    """

    k: int
    overlap_at_k: Summary
    rbo: Summary
    kendall_tau_b: Summary
    score_difference: Summary
    ann_recall_at_k: Summary | None = None


@dataclass(frozen=True)
class Listed:
    """A hit of a query that two rankings answer differently; `missing` if the other one does not have it."""

    rank: int
    id: str
    key: str | None
    score: float
    missing: bool


@dataclass(frozen=True)
class Worst:
    """A query that two rankings answer differently: how much (see `AtDepth`), and the hits of both, best first."""

    query: Query
    rbo: float | None
    overlap_at_k: float
    hits: tuple[list[Listed], list[Listed]]


@dataclass(frozen=True)
class AgainstTruth:
    """One store in one mode against the exact answer.

    Attributes:
        ann_recall_at_k: Share of the k places filled with hits as good as the true k-th neighbour.
        score_difference: Largest distance of a hit's score from the exact score of the same point.
        self_missing: Queries that were not among their own k + 1 hits.
        by_k: The metrics against the exact ranking, at `depths(k)`.
        worst: The `WORST` queries that differ most from the exact ranking, whose hits are the second ones.
    """

    store: str
    mode: str
    searched: str
    ann_recall_at_k: Summary
    queries_below_one: int
    score_difference: Summary
    self_missing: int
    by_k: list[AtDepth]
    worst: list[Worst]


@dataclass(frozen=True)
class Disagreement:
    """A query whose two rankings differ other than by the order of equal scores; see `ranking.Difference`."""

    query: Query
    rank: int
    delta: float | None


@dataclass(frozen=True)
class StoreAgainstStore:
    """Two stores in one mode against each other, with the metrics of `AtDepth` at k.

    Attributes:
        identical: Queries with the same ids in the same order, and equal scores.
        identical_up_to_ties: Queries that differ by nothing but the order and choice of equal scores.
        same_share: Share of the queries that are not different.
        differences: Where the different ones differ first.
    """

    stores: tuple[str, str]
    mode: str
    searched: tuple[str, str]
    identical: int
    identical_up_to_ties: int
    different: int
    same_share: float
    overlap_at_k: Summary
    kendall_tau_b: Summary
    score_difference: Summary
    differences: list[Disagreement]
    rbo: Summary
    by_k: list[AtDepth]
    worst: list[Worst]


@dataclass(frozen=True)
class Parity:
    """All that was compared."""

    oracle: list[AgainstTruth]
    pairs: list[StoreAgainstStore]


def measure(workload: Workload, advance: Advance) -> Parity:
    """Ask every store every query in both modes and compare; `advance` hears of each batch of queries."""
    numbers = range(len(workload.stores))
    answers = {(at, mode): ask(workload, workload.stores[at], mode, advance) for at in numbers for mode in MODES}
    keys = {id_: key for one in answers.values() for id_, key in one.keys.items()}
    exact = exact_rankings(workload.truth, lambda done: None)
    unknown = sorted({*workload.queries, *(id_ for ranking in exact for id_ in ranking.ids)} - keys.keys())
    payloads = workload.stores[0].payloads(unknown)
    keys |= {id_: str(one["key"]) for id_, one in zip(unknown, payloads, strict=True) if one is not None}
    queries = [Query(one, keys.get(one)) for one in workload.queries]

    def against_truth(at: int, mode: str) -> AgainstTruth:
        rankings, info = answers[at, mode].rankings, workload.infos[at]
        both = list(zip(rankings, exact, strict=True))
        truly = [Ranking(one.ids, tuple(workload.truth.scores(number, one.ids))) for number, one in enumerate(rankings)]
        by_k = [_at_depth_of_truth(k, both, truly, queries) for k in depths(workload.k)]
        recalls = recalls_of(workload, rankings)
        return AgainstTruth(
            store=info.url,
            mode=mode,
            searched=how(info, mode),
            ann_recall_at_k=summarise(recalls, queries),
            queries_below_one=sum(value < 1 for value in recalls),
            score_difference=by_k[-1].score_difference,
            self_missing=answers[at, mode].self_missing,
            by_k=by_k,
            worst=_worst(both, workload.k, queries, keys),
        )

    def against_store(one: int, other: int, mode: str) -> StoreAgainstStore:
        both = list(zip(answers[one, mode].rankings, answers[other, mode].rankings, strict=True))
        found = [compare.first_difference(*pair) for pair in both]
        differences = [
            Disagreement(query, at.rank, at.delta) for query, at in zip(queries, found, strict=True) if at is not None
        ]
        identical = sum(at is None and mine.ids == theirs.ids for at, (mine, theirs) in zip(found, both, strict=True))
        by_k = [_at_depth(k, both, queries) for k in depths(workload.k)]
        left, right = workload.infos[one], workload.infos[other]
        return StoreAgainstStore(
            stores=(left.url, right.url),
            mode=mode,
            searched=(how(left, mode), how(right, mode)),
            identical=identical,
            identical_up_to_ties=len(both) - len(differences) - identical,
            different=len(differences),
            same_share=1 - len(differences) / len(both),
            differences=differences,
            **{name: getattr(by_k[-1], name) for name in ("overlap_at_k", "rbo", "kendall_tau_b", "score_difference")},
            by_k=by_k,
            worst=_worst(both, workload.k, queries, keys),
        )

    return Parity(
        oracle=[against_truth(at, mode) for at in numbers for mode in MODES],
        pairs=[against_store(*pair, mode) for pair in combinations(numbers, 2) for mode in MODES],
    )


def depths(k: int) -> list[int]:
    """Return the numbers of hits that rankings of `k` hits are compared at, `k` itself the last."""
    return [*(one for one in DEPTHS if one < k), k]


def _at_depth_of_truth(
    k: int, both: Sequence[tuple[Ranking, Ranking]], truly: Sequence[Ranking], queries: Sequence[Query]
) -> AtDepth:
    """Return the metrics against the exact answers; `truly` are the store's hits with their exact scores."""
    recalls = [
        compare.recall(mine.scores[:k], exact.scores[k - 1], k) for mine, (_, exact) in zip(truly, both, strict=True)
    ]
    deltas = [
        compare.score_difference(first(found, k), first(mine, k)) for mine, (found, _) in zip(truly, both, strict=True)
    ]
    return replace(
        _at_depth(k, both, queries),
        ann_recall_at_k=summarise(recalls, queries),
        score_difference=summarise(deltas, queries, better="lower"),
    )


def _at_depth(k: int, both: Sequence[tuple[Ranking, Ranking]], queries: Sequence[Query]) -> AtDepth:
    cut = [(first(one, k), first(other, k)) for one, other in both]
    return AtDepth(
        k=k,
        overlap_at_k=summarise([compare.overlap(one, other, k) for one, other in cut], queries),
        rbo=summarise([compare.rank_biased_overlap(one, other) for one, other in cut], queries),
        kendall_tau_b=summarise([compare.kendall_tau_b(one, other) for one, other in cut], queries),
        score_difference=summarise(
            [compare.score_difference(one, other) for one, other in cut], queries, better="lower"
        ),
    )


def _worst(
    both: Sequence[tuple[Ranking, Ranking]], k: int, queries: Sequence[Query], keys: Mapping[str, str]
) -> list[Worst]:
    """Return the queries with the lowest rank-biased overlap among those that differ other than by ties."""
    found = [
        Worst(
            query,
            compare.rank_biased_overlap(one, other),
            compare.overlap(one, other, k),
            (_listed(one, other, keys), _listed(other, one, keys)),
        )
        for query, (one, other) in zip(queries, both, strict=True)
        if compare.first_difference(one, other) is not None
    ]
    return sorted(found, key=lambda one: (1.0 if one.rbo is None else one.rbo, one.overlap_at_k))[:WORST]


def _listed(ranking: Ranking, other: Ranking, keys: Mapping[str, str]) -> list[Listed]:
    theirs = set(other.ids)
    pairs = zip(ranking.ids, ranking.scores, strict=True)
    return [Listed(rank, id_, keys.get(id_), score, id_ not in theirs) for rank, (id_, score) in enumerate(pairs, 1)]
