"""Compare each store with the exact answer and with the other stores, in ordinary and in exact search."""

from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations
from typing import Annotated

from cbir.errors import ImageError
from cbir.evaluation.sections import Strip, StripImage
from cbir.images.decode import decode, thumbnail
from cbir.progress import Advance
from cbir.tables import Column

from ..core import ranking as compare
from ..core.metrics import Summary, summarise
from ..core.ranking import Ranking
from ..core.rows import RECALL
from ..core.stores import unique_names
from ..core.workload import MODES, Workload, recalls_of, search_all, search_method

WORST = 3
IMAGE_RANKS = 20
IMAGE_SIDE = 64

_SCORES = ((Column("score difference", format=".1e"), "worst"),)
Rankings = Sequence[Ranking]
Pairs = Sequence[tuple[Ranking, Ranking]]


@dataclass(frozen=True)
class AgainstTruth:
    """One store against the exact answer, in one mode.

    Attributes:
        ann_recall_at_k: Share of the k places filled with hits as good as the true k-th neighbour.
        score_difference: Largest difference between the store's score of a hit and the exact one.
    """

    store: str
    mode: str
    searched: Annotated[str, Column("searched")]
    ann_recall_at_k: Annotated[Summary, RECALL]
    queries_below_one: Annotated[int, Column("queries below 1", format=",d")]
    score_difference: Annotated[Summary, _SCORES]


@dataclass(frozen=True)
class StoreAgainstStore:
    """Two stores against each other, in one mode; the metrics are those of `ranking`.

    Attributes:
        score_difference: Largest difference between the scores of an id.
        identical: Queries with the same ids in the same order, and equal scores.
        identical_up_to_ties: Queries that differ by nothing but the order and choice of equal scores.
        different: The other queries, and `differences` where each of them differs first.
    """

    stores: tuple[str, str]
    mode: str
    overlap_at_k: Annotated[Summary, [(Column("overlap@{k}", format=".4f", better="higher"), "mean")]]
    rbo: Annotated[Summary, [(Column("RBO", format=".4f", better="higher"), "mean")]]
    kendall_tau_b: Annotated[Summary, [(Column("tau-b", format=".4f", better="higher"), "mean")]]
    identical: Annotated[int, Column("identical", format=",d")]
    identical_up_to_ties: Annotated[int, Column("up to ties", format=",d")]
    different: Annotated[int, Column("different", format=",d")]
    score_difference: Annotated[Summary, _SCORES]
    differences: list[tuple[str, compare.Difference]]


def measure(
    workload: Workload, advance: Advance, images: bool = False
) -> tuple[list[AgainstTruth], list[StoreAgainstStore], list[Strip]]:
    """Search all queries in every store in both modes and compare the hits.

    With `images`, return also the queries of each pair that differ most, as the images of both lists of hits.
    """
    rankings: dict[str, list[Rankings]] = {mode: [] for mode in MODES}
    against_truth = []
    for store, info in zip(workload.stores, workload.infos, strict=True):
        for mode in MODES:
            found = search_all(workload, store, mode, advance)
            rankings[mode].append(found)
            recalls = recalls_of(workload, found)
            against_truth.append(
                AgainstTruth(
                    store=info.url,
                    mode=mode,
                    searched=search_method(info, mode),
                    ann_recall_at_k=summarise(recalls),
                    queries_below_one=sum(value < 1 for value in recalls),
                    score_difference=_score_differences(workload, found),
                )
            )
    pairs: list[StoreAgainstStore] = []
    strips: list[Strip] = []
    for left, right in combinations(range(len(workload.stores)), 2):
        for mode in MODES:
            names = workload.infos[left].url, workload.infos[right].url
            both = list(zip(rankings[mode][left], rankings[mode][right], strict=True))
            pairs.append(_compare(workload, names, mode, both))
            strips += _strips(workload, names, mode, both) if images else []
    return against_truth, pairs, strips


def _score_differences(workload: Workload, rankings: Rankings) -> Summary:
    deltas = []
    for number, ranking in enumerate(rankings):
        exact = Ranking(ranking.ids, tuple(workload.truth.scores(number, ranking.ids)))
        deltas.append(compare.score_difference(ranking, exact))
    return summarise(deltas, better="lower")


def _compare(workload: Workload, stores: tuple[str, str], mode: str, both: Pairs) -> StoreAgainstStore:
    found = [compare.first_difference(*pair) for pair in both]
    same = [pair for pair, difference in zip(both, found, strict=True) if difference is None]
    identical = sum(mine.ids == theirs.ids for mine, theirs in same)
    deltas = [compare.score_difference(*pair) for pair in both]
    return StoreAgainstStore(
        stores=stores,
        mode=mode,
        overlap_at_k=summarise([compare.overlap(*pair, workload.k) for pair in both]),
        rbo=summarise([compare.rank_biased_overlap(*pair) for pair in both]),
        kendall_tau_b=summarise([compare.kendall_tau_b(*pair) for pair in both]),
        score_difference=summarise(deltas, better="lower"),
        identical=identical,
        identical_up_to_ties=len(same) - identical,
        different=len(both) - len(same),
        differences=[(query, where) for query, where in zip(workload.queries.names, found, strict=True) if where],
    )


def _strips(workload: Workload, stores: tuple[str, str], mode: str, both: Pairs) -> Iterator[Strip]:
    """Yield the hits of both stores for the queries with the lowest rank-biased overlap."""
    differing = [
        (compare.rank_biased_overlap(*pair) or 0.0, name, pair)
        for name, pair in zip(workload.queries.names, both, strict=True)
        if compare.first_difference(*pair) is not None
    ]
    short = unique_names([info.url for info in workload.infos])
    for _, name, (left, right) in sorted(differing, key=lambda found: found[0])[:WORST]:
        for store, mine, theirs in ((stores[0], left, right), (stores[1], right, left)):
            captions = {}
            for rank, (id_, score) in enumerate(zip(mine.ids[:IMAGE_RANKS], mine.scores, strict=False), 1):
                captions[id_] = f"{rank}: {score:.3f}" + ("" if id_ in theirs.ids else ", missing in the other")
            images = map(_image, workload.stores[0].thumbnails(list(captions)))
            shown = [StripImage(id_, image, captions[id_]) for id_, image in zip(captions, images, strict=True)]
            yield Strip(f"{short[store]}, {mode}: {name}", shown)


def _image(thumbnail_of_point: bytes | None) -> str | None:
    """Return a small JPEG in base64; None if the point has no thumbnail that can be decoded."""
    with suppress(ImageError):
        if thumbnail_of_point:
            return b64encode(thumbnail(decode(thumbnail_of_point, IMAGE_SIDE), side=IMAGE_SIDE)).decode()
    return None
