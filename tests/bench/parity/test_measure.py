"""The comparison of stores: real ones, and stores that are made wrong on purpose."""

import io
from base64 import b64decode
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from cbir.bench.core.metrics import Summary
from cbir.bench.core.ranking import rank_biased_overlap
from cbir.bench.core.workload import EXACT, MODES, ORDINARY, Workload, open_workload, search_all, workload_of
from cbir.bench.parity import measure
from PIL import Image

from cbir.evaluation.sections import Strip
from cbir.records import Hit
from cbir.settings import Settings
from cbir.stores.base import Store
from tests.support.bench_stores import VECTORS, altered
from tests.support.building import both, build


class Parity(NamedTuple):
    """What `measure` returns."""

    against_truth: list[measure.AgainstTruth]
    pairs: list[measure.StoreAgainstStore]
    images: list[Strip]


def measured(workload: Workload, images: bool = False) -> Parity:
    return Parity(*measure.measure(workload, lambda done: None, images))


def beside_itself(store: Store, alter: Callable[[list[Hit]], list[Hit]], k: int = 5) -> Parity:
    """The result for a store and its altered self."""
    return measured(workload_of([store, altered(store, alter)], k, 40, 1))


def recall_of(part: measure.AgainstTruth) -> Summary:
    return part.ann_recall_at_k


def test_real_stores_agree(index: Path) -> None:
    with open_workload(both(index), None, 10, 50, 42, Settings()) as workload:
        found = measured(workload)
    assert [(part.store, part.mode) for part in found.against_truth] == [
        (url, mode) for url in both(index) for mode in MODES
    ]
    for part in found.against_truth:
        assert part.score_difference.worst is not None
        assert part.score_difference.worst < 1e-5
        if part.mode == EXACT:
            assert (recall_of(part).mean, recall_of(part).worst, part.queries_below_one) == (1, 1, 0)
            assert part.searched == "scan"
    exact = found.pairs[1]
    assert (exact.mode, exact.identical + exact.identical_up_to_ties, exact.differences) == (EXACT, 50, [])
    assert exact.overlap_at_k.worst == 1
    assert exact.kendall_tau_b.mean == pytest.approx(1)


def test_lists_that_are_not_all_searched_miss(made: Path) -> None:
    with open_workload([f"faiss:{made}/lists?nprobe=1", both(made)[0]], "made", 10, 100, 1, Settings()) as workload:
        found = measured(workload)
    lists, exact = found.against_truth[:2]
    assert lists.searched == "ivf (nprobe=1)"
    worst = recall_of(lists)
    assert worst.mean is not None
    assert worst.mean < 0.9
    assert lists.queries_below_one > 10
    assert recall_of(exact).worst == 1
    ordinary, both_exact = found.pairs
    assert (len(ordinary.differences) > 10, both_exact.differences) == (True, [])
    assert ordinary.identical + ordinary.identical_up_to_ties + len(ordinary.differences) == 100
    assert {rank for _, (rank, _) in ordinary.differences} <= set(range(1, 11))


def test_a_missed_best_hit_is_seen(store: Store) -> None:
    found = beside_itself(store, lambda hits: [hits[0], *hits[2:]])
    assert recall_of(found.against_truth[1]).mean == 1
    assert recall_of(found.against_truth[3]).mean == pytest.approx(0.8)
    assert len(found.pairs[1].differences) == 40
    assert found.pairs[1].overlap_at_k.mean == pytest.approx(0.8)


def test_a_reversed_order_is_seen(store: Store) -> None:
    found = beside_itself(store, lambda hits: hits[::-1])
    assert recall_of(found.against_truth[3]).mean == 1, "the same hits"
    assert len(found.pairs[1].differences) == 40
    assert found.pairs[1].kendall_tau_b.mean == pytest.approx(-1, abs=0.1)


def test_wrong_scores_are_seen(store: Store) -> None:
    found = beside_itself(store, lambda hits: [replace(hit, score=hit.score - 0.01) for hit in hits])
    assert found.against_truth[3].score_difference.worst == pytest.approx(0.01, abs=1e-5)
    assert found.pairs[1].score_difference.mean == pytest.approx(0.01, abs=1e-5)
    assert len(found.pairs[1].differences) == 40


def test_no_hits_are_no_success(store: Store) -> None:
    found = beside_itself(store, lambda hits: [])
    nothing, pair = found.against_truth[3], found.pairs[1]
    assert (recall_of(nothing).mean, nothing.queries_below_one) == (0, 40)
    assert nothing.score_difference.mean is None
    assert (pair.overlap_at_k.mean, pair.kendall_tau_b.mean) == (0, None)
    assert {delta for _, (_, delta) in pair.differences} == {None}


def test_more_hits_than_points(tmp_path: Path) -> None:
    build(both(tmp_path / "index"), VECTORS[:12])
    with open_workload(both(tmp_path / "index"), None, 50, 20, 1, Settings()) as workload:
        found = measured(workload)
    assert (workload.k, len(workload.vectors)) == (12, 20)
    assert {recall_of(part).worst for part in found.against_truth} == {1.0}


def test_an_exact_search_agrees_with_the_exact_answer(made: Path) -> None:
    with open_workload([f"faiss:{made}/lists?nprobe=1", both(made)[0]], "made", 20, 40, 1, Settings()) as workload:
        found = measured(workload)
    assert found.pairs[1].rbo.worst == pytest.approx(1)
    assert [recall_of(part).worst for part in found.against_truth[1::2]] == [1, 1]
    assert found.images == [], "they were not requested"


def test_the_queries_that_differ_most(made: Path) -> None:
    with open_workload([f"faiss:{made}/lists?nprobe=1", both(made)[0]], "made", 10, 40, 1, Settings()) as workload:
        found = measured(workload, images=True)
        first, second = (search_all(workload, store, ORDINARY, lambda done: None) for store in workload.stores)
        overlaps = [rank_biased_overlap(*pair) or 0.0 for pair in zip(first, second, strict=True)]
        worst = workload.queries.names[overlaps.index(min(overlaps))]
    titles = [strip.title for strip in found.images[:2]]
    assert titles == [f"faiss lists nprobe=1, ordinary: {worst}", f"edge, ordinary: {worst}"]
    assert len(found.images) == 2 * measure.WORST, "exact searches do not differ"
    for mine, theirs in zip(found.images[::2], found.images[1::2], strict=True):
        assert [image.caption.split(":")[0] for image in theirs.images] == [str(rank) for rank in range(1, 11)]
        missing = {image.id for image in theirs.images if image.caption.endswith("missing in the other")}
        assert missing == {image.id for image in theirs.images} - {image.id for image in mine.images}
        assert missing


def test_images_of_the_queries_that_differ_most(index: Path) -> None:
    with open_workload(both(index)[:1], None, 15, 10, 42, Settings()) as workload:
        opened = workload.stores[0]
        turned = workload_of([opened, altered(opened, lambda hits: hits[::-1])], 15, 10, 42)
        infos = [
            replace(info, url=url) for info, url in zip(turned.infos, ("edge:/a/index", "edge:/b/index"), strict=True)
        ]
        found = measured(replace(turned, infos=infos), images=True)
    assert [strip.title.partition(",")[0] for strip in found.images] == ["edge 1", "edge 2"] * 6
    assert len(found.images) == 2 * 2 * 3, "three queries in two stores and two ways of searching"
    for strip in found.images:
        assert len(strip.images) == 15
        for shown in strip.images:
            with Image.open(io.BytesIO(b64decode(shown.data or ""))) as image:
                assert (image.format, max(image.size) <= 64) == ("JPEG", True)
