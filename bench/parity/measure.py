"""Compare each store with the exact answer and with the other stores, in ordinary and in exact search."""

import logging
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import combinations

from cbir.errors import ImageError
from cbir.images.decode import decode, thumbnail
from cbir.progress import Advance

from ..core import ranking as compare
from ..core.ground_truth import exact_rankings
from ..core.metrics import Query, Summary, summarise
from ..core.ranking import Ranking
from ..core.workload import MODES, Answers, Workload, recalls_of, search_all, search_method

DEPTHS = (1, 5, 10, 20, 50, 100)
WORST = 5
IMAGE_RANKS = 10
IMAGE_SIDE = 64

log = logging.getLogger(__name__)

Pairs = Sequence[tuple[Ranking, Ranking]]


@dataclass(frozen=True)
class AtDepth:
    """Two rankings of each query cut to the first k hits; the metrics are those of `ranking`.

    Attributes:
        score_difference: Largest difference between the scores of an id; to the exact answer, of any hit.
        ann_recall_at_k: Share of the k places filled with hits as good as the true k-th neighbour; None between stores.
    """

    k: int
    overlap_at_k: Summary
    rbo: Summary
    kendall_tau_b: Summary
    score_difference: Summary
    ann_recall_at_k: Summary | None = None


@dataclass(frozen=True)
class RankedHit:
    """A hit of a query whose two rankings differ; `missing` if the other ranking does not have it."""

    rank: int
    id: str
    key: str | None
    score: float
    missing: bool


@dataclass(frozen=True)
class WorstQuery:
    """A query whose two rankings differ: by how much (see `AtDepth`), and the hits of both, best first."""

    query: Query
    rbo: float | None
    overlap_at_k: float
    hits: tuple[list[RankedHit], list[RankedHit]]


@dataclass(frozen=True)
class Disagreement:
    """A query whose two rankings differ apart from the order of equal scores; see `ranking.Difference`."""

    query: Query
    rank: int
    delta: float | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One store or two, in one mode.

    Attributes:
        by_k: The metrics at `depths(k)`; the last ones are those at k.
        worst: The `WORST` queries whose two rankings differ most.
    """

    stores: tuple[str, ...]
    mode: str
    by_k: list[AtDepth]
    worst: list[WorstQuery]

    @property
    def at_k(self) -> AtDepth:
        """The metrics at k."""
        return self.by_k[-1]


@dataclass(frozen=True, kw_only=True)
class AgainstTruth(Comparison):
    """One store against the exact answer, which is the second ranking.

    Attributes:
        self_missing: Queries that were not among their own k + 1 hits.
    """

    searched: str
    queries_below_one: int
    self_missing: int


@dataclass(frozen=True, kw_only=True)
class StoreAgainstStore(Comparison):
    """Two stores against each other.

    Attributes:
        identical: Queries with the same ids in the same order, and equal scores.
        identical_up_to_ties: Queries that differ by nothing but the order and choice of equal scores.
        differences: Where the other queries differ first.
    """

    identical: int
    identical_up_to_ties: int
    differences: list[Disagreement]

    @property
    def different(self) -> int:
        """The number of the other queries."""
        return len(self.differences)


@dataclass(frozen=True)
class Parity:
    """All comparisons."""

    against_truth: list[AgainstTruth]
    pairs: list[StoreAgainstStore]


def measure(workload: Workload, advance: Advance) -> Parity:
    """Search all queries in every store in both modes and compare the hits."""
    indexes = range(len(workload.stores))
    answers = {(i, mode): search_all(workload, workload.stores[i], mode, advance) for i in indexes for mode in MODES}
    exact = exact_rankings(workload.truth)
    keys = _keys(workload, answers.values(), exact)
    queries = [Query(id_, keys.get(id_)) for id_ in workload.queries]

    def against_truth(index: int, mode: str) -> AgainstTruth:
        answer, info = answers[index, mode], workload.infos[index]
        both = list(zip(answer.rankings, exact, strict=True))
        rescored = [
            Ranking(ranking.ids, tuple(workload.truth.scores(number, ranking.ids)))
            for number, ranking in enumerate(answer.rankings)
        ]
        return AgainstTruth(
            stores=(info.url,),
            mode=mode,
            searched=search_method(info, mode),
            queries_below_one=sum(value < 1 for value in recalls_of(workload, answer.rankings)),
            self_missing=answer.self_missing,
            by_k=[_at_depth_of_truth(k, both, rescored, queries) for k in depths(workload.k)],
            worst=_worst(both, workload.k, queries, keys),
        )

    def against_store(left: int, right: int, mode: str) -> StoreAgainstStore:
        both = list(zip(answers[left, mode].rankings, answers[right, mode].rankings, strict=True))
        found = [compare.first_difference(*pair) for pair in both]
        differences = [
            Disagreement(query, difference.rank, difference.delta)
            for query, difference in zip(queries, found, strict=True)
            if difference is not None
        ]
        same = [pair for pair, difference in zip(both, found, strict=True) if difference is None]
        identical = sum(mine.ids == theirs.ids for mine, theirs in same)
        return StoreAgainstStore(
            stores=(workload.infos[left].url, workload.infos[right].url),
            mode=mode,
            identical=identical,
            identical_up_to_ties=len(same) - identical,
            differences=differences,
            by_k=[_at_depth(k, both, queries) for k in depths(workload.k)],
            worst=_worst(both, workload.k, queries, keys),
        )

    return Parity(
        against_truth=[against_truth(i, mode) for i in indexes for mode in MODES],
        pairs=[against_store(*pair, mode) for pair in combinations(indexes, 2) for mode in MODES],
    )


def worst_images(workload: Workload, parity: Parity) -> dict[str, str]:
    """Return the thumbnails in base64 of the worst queries, their first hits and their first missing hits, by point.

    Points whose thumbnail cannot be decoded are left out.
    """
    comparisons: list[Comparison] = [*parity.against_truth, *parity.pairs]
    worst = [query for comparison in comparisons for query in comparison.worst]
    sides = [side for query in worst for side in query.hits]
    missing = [[hit for hit in side if hit.missing] for side in sides]
    hits = [hit.id for side in (*sides, *missing) for hit in side[:IMAGE_RANKS]]
    ids = list(dict.fromkeys([*(query.query.id for query in worst), *hits]))
    images = {}
    for id_, data in zip(ids, workload.stores[0].thumbnails(ids), strict=True):
        with suppress(ImageError):
            if data:
                images[id_] = b64encode(thumbnail(decode(data, IMAGE_SIDE), side=IMAGE_SIDE)).decode()
    if len(images) < len(ids):
        log.warning("%d of %d points have no thumbnail that can be shown", len(ids) - len(images), len(ids))
    return images


def depths(k: int) -> list[int]:
    """Return the numbers of hits at which rankings of `k` hits are compared, `k` itself last."""
    return [*(depth for depth in DEPTHS if depth < k), k]


def _keys(workload: Workload, answers: Iterable[Answers], exact: Sequence[Ranking]) -> dict[str, str]:
    """Return the key of each query and hit by its id."""
    keys = {id_: key for answer in answers for id_, key in answer.keys.items()}
    others = sorted({*workload.queries, *(id_ for ranking in exact for id_ in ranking.ids)} - keys.keys())
    payloads = zip(others, workload.stores[0].payloads(others), strict=True)
    return keys | {id_: str(payload["key"]) for id_, payload in payloads if payload is not None}


def _at_depth_of_truth(k: int, both: Pairs, rescored: Sequence[Ranking], queries: Sequence[Query]) -> AtDepth:
    """Return the metrics against the exact answers; `rescored` are the store's hits with their exact scores."""
    recalls = [
        compare.recall(hits.scores[:k], exact.scores[k - 1], k) for hits, (_, exact) in zip(rescored, both, strict=True)
    ]
    deltas = [
        compare.score_difference(found.first(k), hits.first(k)) for hits, (found, _) in zip(rescored, both, strict=True)
    ]
    return replace(
        _at_depth(k, both, queries),
        ann_recall_at_k=summarise(recalls, queries),
        score_difference=summarise(deltas, queries, better="lower"),
    )


def _at_depth(k: int, both: Pairs, queries: Sequence[Query]) -> AtDepth:
    cut = [(left.first(k), right.first(k)) for left, right in both]
    deltas = [compare.score_difference(*pair) for pair in cut]
    return AtDepth(
        k=k,
        overlap_at_k=summarise([compare.overlap(*pair, k) for pair in cut], queries),
        rbo=summarise([compare.rank_biased_overlap(*pair) for pair in cut], queries),
        kendall_tau_b=summarise([compare.kendall_tau_b(*pair) for pair in cut], queries),
        score_difference=summarise(deltas, queries, better="lower"),
    )


def _worst(both: Pairs, k: int, queries: Sequence[Query], keys: Mapping[str, str]) -> list[WorstQuery]:
    """Return the queries with the lowest rank-biased overlap among those that differ by more than ties."""
    found = [
        WorstQuery(
            query,
            compare.rank_biased_overlap(left, right),
            compare.overlap(left, right, k),
            (_ranked(left, right, keys), _ranked(right, left, keys)),
        )
        for query, (left, right) in zip(queries, both, strict=True)
        if compare.first_difference(left, right) is not None
    ]
    return sorted(found, key=lambda query: (1.0 if query.rbo is None else query.rbo, query.overlap_at_k))[:WORST]


def _ranked(ranking: Ranking, other: Ranking, keys: Mapping[str, str]) -> list[RankedHit]:
    others = set(other.ids)
    pairs = enumerate(zip(ranking.ids, ranking.scores, strict=True), 1)
    return [RankedHit(rank, id_, keys.get(id_), score, id_ not in others) for rank, (id_, score) in pairs]
