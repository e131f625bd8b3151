"""How a comparison of stores is shown."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cbir.bench.core.subject import store_envelope
from cbir.bench.core.workload import Workload, open_workload, workload_of
from cbir.bench.parity.measure import measure
from cbir.bench.parity.result import SUBJECT, ParityResult, present

from cbir.evaluation.sections import Strip
from cbir.settings import Settings
from cbir.stores.base import Store
from tests.support.bench_stores import altered
from tests.support.building import both
from tests.support.sections import cells


def result_of(workload: Workload, images: bool = False) -> ParityResult:
    against_truth, pairs, strips = measure(workload, lambda done: None, images)
    header: dict[str, Any] = store_envelope(SUBJECT.name, workload, [])
    return ParityResult(**header, against_truth=against_truth, pairs=pairs, images=strips)


@pytest.fixture
def lossy(store: Store) -> ParityResult:
    """The result of a store and of one that always misses the best hit."""
    return result_of(workload_of([store, altered(store, lambda hits: [hits[0], *hits[2:]])], 5, 40, 1))


def test_a_saved_result_is_loaded_again(lossy: ParityResult) -> None:
    assert SUBJECT.load(SUBJECT.dump(lossy)) == lossy


def test_stores_that_differ(lossy: ParityResult) -> None:
    section = present(lossy)
    assert section.verdicts[0] == "0 of 40 queries have the same hits in ordinary search of edge and edge."
    assert "edge, exact: recall@5 is 0.8000." in section.verdicts
    assert cells(section, "Against the exact answer", "recall@5") == pytest.approx([1, 1, 0.8, 0.8])
    assert cells(section, "Store against store", "different") == [40, 40]
    notes = [note for note in section.notes if "differs at rank 2 by" in note]
    assert len(notes) == 10, "five of each way of searching"
    assert "edge / edge, exact: 35 more queries differ; --json names all." in section.notes


def test_stores_that_agree(made: Path) -> None:
    with open_workload(both(made), "made", 5, 30, 1, Settings()) as workload:
        section = present(result_of(workload))
    assert section.verdicts == [
        "The stores agree: 30 of 30 queries have the same hits.",
        "edge, ordinary: recall@5 is 1.0000.",
        "faiss, ordinary: recall@5 is 1.0000.",
    ]
    assert cells(section, "Store against store", "stores") == ["edge / faiss, ordinary", "edge / faiss, exact"]


def test_two_stores_of_one_name_are_told_apart(lossy: ParityResult) -> None:
    (info, _), urls = lossy.stores, ("edge:/a/index", "edge:/b/index")
    truths = [replace(part, store=urls[i // 2]) for i, part in enumerate(lossy.against_truth)]
    pairs = [replace(pair, stores=urls) for pair in lossy.pairs]
    stores = [replace(info, url=url) for url in urls]
    section = present(replace(lossy, stores=stores, against_truth=truths, pairs=pairs))
    assert section.verdicts[0].endswith("in ordinary search of edge 1 and edge 2.")
    assert cells(section, "Against the exact answer", "store") == [
        "edge 1, ordinary", "edge 1, exact", "edge 2, ordinary", "edge 2, exact",
    ]  # fmt: skip
    assert cells(section, "Store against store", "stores")[0] == "edge 1 / edge 2, ordinary"


def test_one_store_has_no_other_to_be_compared_with(store: Store) -> None:
    assert len(present(result_of(workload_of([store], 5, 40, 1))).tables) == 1


def test_the_worst_queries_are_shown_as_images(index: Path) -> None:
    with open_workload(both(index)[:1], None, 5, 10, 42, Settings()) as workload:
        opened = workload.stores[0]
        turned = workload_of([opened, altered(opened, lambda hits: hits[::-1])], 5, 10, 42)
        result = result_of(turned, images=True)
    strips = [part for part in present(result).parts if isinstance(part, Strip)]
    assert len(strips) == 2 * 2 * 3, "three queries in two stores and two ways of searching"
    assert strips[0].title.partition(": ")[2] in {query for query, _ in result.pairs[0].differences}
    assert [image.caption[:3] for image in strips[0].images] == ["1: ", "2: ", "3: ", "4: ", "5: "]
    assert all(image.data for image in strips[0].images)
    assert not [part for part in present(replace(result, images=[])).parts if isinstance(part, Strip)]
