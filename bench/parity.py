"""Do the stores agree: each with the exact answer, and each with the others, in both ways of searching."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from cbir.terminal import Advance

from .ranking import Ranking, first_difference, kendall_tau_b, overlap, recall, score_difference
from .subject import MODES, Answers, Subject, ask, how
from .summary import Query, Summary, named, summarise


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
    """

    store: str
    mode: str
    searched: str
    ann_recall_at_k: Summary
    queries_below_one: int
    score_difference: Summary
    self_missing: int


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
    queries = named(subject.queries, {id_: key for one in answers.values() for id_, key in one.keys.items()})
    numbers = range(len(subject.stores))
    return Parity(
        oracle=[against_oracle(subject, at, mode, answers[at, mode], queries) for at in numbers for mode in MODES],
        pairs=[
            against_store(subject, (one, other), mode, (answers[one, mode], answers[other, mode]), queries)
            for one, other in combinations(numbers, 2)
            for mode in MODES
        ],
    )


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
    subject: Subject, pair: tuple[int, int], mode: str, answers: tuple[Answers, Answers], queries: Sequence[Query]
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
    first, second = (subject.infos[at] for at in pair)
    return StoreAgainstStore(
        stores=(first.url, second.url),
        mode=mode,
        searched=(how(first, mode), how(second, mode)),
        identical=identical,
        identical_up_to_ties=len(both) - len(differences) - identical,
        different=len(differences),
        same_share=1 - len(differences) / len(both),
        overlap_at_k=summarise([overlap(one, other, subject.k) for one, other in both], queries),
        kendall_tau_b=summarise([kendall_tau_b(one, other) for one, other in both], queries),
        score_difference=summarise([score_difference(one, other) for one, other in both], queries, better="lower"),
        differences=differences,
    )
