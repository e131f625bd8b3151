"""Do the stores agree: each with the exact answer, and each with the others, in both ways of searching."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

from cbir.terminal import Advance

from ..core.nearest import exact_rankings
from ..core.workload import MODES, Answers, Subject, ask, how
from ..report.summary import Query, Summary, named, summarise
from .ranking import (
    Ranking,
    first,
    first_difference,
    kendall_tau_b,
    overlap,
    rank_biased_overlap,
    recall,
    score_difference,
)

DEPTHS = (1, 5, 10, 20, 50, 100)
WORST = 5


@dataclass(frozen=True)
class AtDepth:
    """Two rankings of each query cut to the first k hits; the metrics are those of `ranking`.

    Attributes:
        k: How many hits.
        overlap_at_k: Share of the k places filled alike.
        rbo: Rank-biased overlap.
        kendall_tau_b: Rank correlation of the ids that both have.
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
class AgainstOracle:
    """One store in one mode against the exact answer.

    Attributes:
        store: Its URL.
        mode: "ordinary" or "exact".
        searched: How it searched, in words.
        ann_recall_at_k: Share of the k places filled with hits as good as the true k-th neighbour.
        queries_below_one: Queries whose recall is below 1.
        score_difference: Largest distance of a hit's score from the oracle's score of the same point.
        self_missing: Queries that were not among their own k + 1 hits.
        by_k: The metrics against the exact ranking, at `depths(k)`; nothing where only the recall was asked for.
        worst: The `WORST` queries that differ most from the exact ranking, whose hits are the second ones.
    """

    store: str
    mode: str
    searched: str
    ann_recall_at_k: Summary
    queries_below_one: int
    score_difference: Summary
    self_missing: int
    by_k: list[AtDepth] = field(default_factory=list)
    worst: list[Worst] = field(default_factory=list)


@dataclass(frozen=True)
class Disagreement:
    """A query whose two rankings differ other than by the order of equal scores; see `ranking.Difference`."""

    query: Query
    rank: int
    delta: float | None


@dataclass(frozen=True)
class StoreAgainstStore:
    """Two stores in one mode against each other; the metrics are those of `ranking`.

    Attributes:
        stores: Their URLs.
        mode: "ordinary" or "exact".
        searched: How each searched.
        identical: Queries with the same ids in the same order, and equal scores.
        identical_up_to_ties: Queries that differ by nothing but the order and choice of equal scores.
        different: The other queries.
        same_share: Share of the queries that are not different.
        overlap_at_k: Share of the k places filled alike.
        kendall_tau_b: Rank correlation of the ids that both returned.
        score_difference: Largest distance between the scores of an id that both returned.
        differences: Where the different ones differ first.
        rbo: Rank-biased overlap.
        by_k: The metrics at `depths(k)`.
        worst: The `WORST` queries that differ most.
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

    oracle: list[AgainstOracle]
    pairs: list[StoreAgainstStore]


def measure(subject: Subject, advance: Advance) -> Parity:
    """Ask every store every query in both modes and compare; `advance` hears of each batch of queries."""
    answers = {
        (number, mode): ask(subject, store, mode, advance)
        for number, store in enumerate(subject.stores)
        for mode in MODES
    }
    keys = {id_: key for one in answers.values() for id_, key in one.keys.items()}
    exact = exact_rankings(subject, lambda done: None)
    unknown = sorted({*subject.queries, *(id_ for ranking in exact for id_ in ranking.ids)} - keys.keys())
    keys |= _keys(subject, unknown)
    queries = named(subject.queries, keys)
    numbers = range(len(subject.stores))
    return Parity(
        oracle=[
            _with_exact_rankings(
                against_oracle(subject, at, mode, answers[at, mode], queries),
                subject,
                answers[at, mode].rankings,
                exact,
                queries,
                keys,
            )
            for at in numbers
            for mode in MODES
        ],
        pairs=[
            against_store(subject, (one, other), mode, (answers[one, mode], answers[other, mode]), queries, keys)
            for one, other in combinations(numbers, 2)
            for mode in MODES
        ],
    )


def depths(k: int) -> list[int]:
    """Return the numbers of hits that rankings of `k` hits are compared at, `k` itself the last."""
    return [*(one for one in DEPTHS if one < k), k]


def against_oracle(subject: Subject, at: int, mode: str, answers: Answers, queries: Sequence[Query]) -> AgainstOracle:
    """Compare the answers of the store number `at` with the exact ones."""
    truth = subject.truth
    recalls: list[float] = []
    deltas: list[float | None] = []
    for number, ranking in enumerate(answers.rankings):
        true_scores = truth.scores(number, ranking.ids)
        recalls.append(recall(true_scores, float(truth.threshold[number]), truth.k))
        deltas.append(score_difference(ranking, Ranking(ranking.ids, tuple(true_scores))))
    info = subject.infos[at]
    return AgainstOracle(
        store=info.url,
        mode=mode,
        searched=how(info, mode),
        ann_recall_at_k=summarise(recalls, queries),
        queries_below_one=sum(value < 1 for value in recalls),
        score_difference=summarise(deltas, queries, better="lower"),
        self_missing=answers.self_missing,
    )


def against_store(
    subject: Subject,
    pair: tuple[int, int],
    mode: str,
    answers: tuple[Answers, Answers],
    queries: Sequence[Query],
    keys: Mapping[str, str],
) -> StoreAgainstStore:
    """Compare the answers of two stores, given by number."""
    both = list(zip(answers[0].rankings, answers[1].rankings, strict=True))
    found = [first_difference(one, other) for one, other in both]
    differences = [
        Disagreement(query, one.rank, one.delta) for query, one in zip(queries, found, strict=True) if one is not None
    ]
    identical = sum(
        difference is None and one.ids == other.ids for difference, (one, other) in zip(found, both, strict=True)
    )
    by_k = [_at_depth(k, both, queries) for k in depths(subject.k)]
    left, right = (subject.infos[at] for at in pair)
    return StoreAgainstStore(
        stores=(left.url, right.url),
        mode=mode,
        searched=(how(left, mode), how(right, mode)),
        identical=identical,
        identical_up_to_ties=len(both) - len(differences) - identical,
        different=len(differences),
        same_share=1 - len(differences) / len(both),
        overlap_at_k=by_k[-1].overlap_at_k,
        kendall_tau_b=by_k[-1].kendall_tau_b,
        score_difference=by_k[-1].score_difference,
        differences=differences,
        rbo=by_k[-1].rbo,
        by_k=by_k,
        worst=_worst(both, subject.k, queries, keys),
    )


def _with_exact_rankings(
    found: AgainstOracle,
    subject: Subject,
    rankings: Sequence[Ranking],
    exact: Sequence[Ranking],
    queries: Sequence[Query],
    keys: Mapping[str, str],
) -> AgainstOracle:
    both = list(zip(rankings, exact, strict=True))
    true_scores = [subject.truth.scores(number, ranking.ids) for number, ranking in enumerate(rankings)]
    by_k = []
    for k in depths(subject.k):
        recalls = [
            recall(scores[:k], ranking.scores[k - 1], k) for scores, ranking in zip(true_scores, exact, strict=True)
        ]
        deltas = [
            score_difference(first(ranking, k), first(Ranking(ranking.ids, tuple(scores)), k))
            for scores, ranking in zip(true_scores, rankings, strict=True)
        ]
        by_k.append(
            replace(
                _at_depth(k, both, queries),
                ann_recall_at_k=summarise(recalls, queries),
                score_difference=summarise(deltas, queries, better="lower"),
            )
        )
    return replace(found, by_k=by_k, worst=_worst(both, subject.k, queries, keys))


def _at_depth(k: int, both: Sequence[tuple[Ranking, Ranking]], queries: Sequence[Query]) -> AtDepth:
    cut = [(first(one, k), first(other, k)) for one, other in both]
    return AtDepth(
        k=k,
        overlap_at_k=summarise([overlap(one, other, k) for one, other in cut], queries),
        rbo=summarise([rank_biased_overlap(one, other) for one, other in cut], queries),
        kendall_tau_b=summarise([kendall_tau_b(one, other) for one, other in cut], queries),
        score_difference=summarise([score_difference(one, other) for one, other in cut], queries, better="lower"),
    )


def _worst(
    both: Sequence[tuple[Ranking, Ranking]], k: int, queries: Sequence[Query], keys: Mapping[str, str]
) -> list[Worst]:
    """Return the queries with the lowest rank-biased overlap among those that differ other than by ties."""
    found = [
        Worst(
            query,
            rank_biased_overlap(one, other),
            overlap(one, other, k),
            (_listed(one, other, keys), _listed(other, one, keys)),
        )
        for query, (one, other) in zip(queries, both, strict=True)
        if first_difference(one, other) is not None
    ]
    return sorted(found, key=lambda one: (1.0 if one.rbo is None else one.rbo, one.overlap_at_k))[:WORST]


def _listed(ranking: Ranking, other: Ranking, keys: Mapping[str, str]) -> list[Listed]:
    theirs = set(other.ids)
    pairs = zip(ranking.ids, ranking.scores, strict=True)
    return [Listed(rank, id_, keys.get(id_), score, id_ not in theirs) for rank, (id_, score) in enumerate(pairs, 1)]


def _keys(subject: Subject, ids: Sequence[str]) -> dict[str, str]:
    """Return the keys of points that no store's answer has named."""
    payloads = subject.stores[0].payloads(ids)
    return {id_: str(one["key"]) for id_, one in zip(ids, payloads, strict=True) if one is not None}
