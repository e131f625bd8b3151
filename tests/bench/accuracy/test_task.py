"""The task of an accuracy measurement: who is searched for among whom, and which hits count."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cbir.bench.accuracy.task import judge, make_task, open_sources, search
from cbir.bench.core.metrics import per_query

from cbir.errors import UsageError
from tests.support.accuracy import OPTIONS, labelled
from tests.support.building import unit_vectors

LEAVE_ONE_OUT = replace(OPTIONS, protocol="leave-one-out", k=2)
TWO_SOURCES = replace(OPTIONS, protocol="two-sources", query_source="queries", k=2)


def test_exact_copies_of_the_query_are_no_hits() -> None:
    angles = np.array([0.0, 0.001, 0.1, 0.2, 0.3, 0.4])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    images = labelled(vectors, "aabbab", "xxyzvw")
    task, _ = make_task([images], set(images.digests), LEAVE_ONE_OUT)
    hits, with_copies = search(vectors, task)
    assert hits[0].tolist() == [2, 3], "image 1 is its copy"
    assert with_copies[0].tolist() == [1, 2]
    judged, judged_with_copies = judge(hits, task, with_copies=False), judge(with_copies, task, with_copies=True)
    assert judged.possible[0] == 1
    assert judged_with_copies.possible[0] == 2
    values, more = per_query(judged), per_query(judged_with_copies)
    assert values["precision_at_2"][0] == 0 and more["precision_at_2"][0] == 0.5


@pytest.mark.parametrize("seed", range(3))
def test_no_query_finds_itself(seed: int) -> None:
    vectors = unit_vectors(30, seed)
    images = labelled(vectors, "ab" * 15)
    task, _ = make_task([images], set(images.digests), replace(LEAVE_ONE_OUT, k=5))
    hits, with_copies = search(vectors, task)
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -2)
    assert (hits == np.argsort(-scores, axis=1)[:, :5]).all()
    assert (hits == with_copies).all()


def test_an_index_of_nothing_but_copies_gives_no_hits() -> None:
    vectors = unit_vectors(6)
    images = labelled(vectors, "aabbbb", "xxxxxx")
    task, _ = make_task([images], set(images.digests), LEAVE_ONE_OUT)
    hits, _ = search(vectors, task)
    assert (hits == -1).all() and not judge(hits, task, with_copies=False).relevant.any()


def test_queries_of_a_second_source_search_in_the_first_one() -> None:
    vectors = unit_vectors(20)
    index, queries = labelled(vectors[:12], "ab" * 6, prefix="i"), labelled(vectors[12:], "abca" * 2, prefix="q")
    task, kept = make_task([index, queries], {*index.digests, *queries.digests}, TWO_SOURCES)
    assert (task.indexed.tolist(), task.queries.tolist()) == (list(range(12)), list(range(12, 20)))
    hits, _ = search(kept, task)
    assert (hits == np.argsort(-(vectors[12:] @ vectors[:12].T), axis=1)[:, :2]).all()
    judged = judge(hits, task, with_copies=False)
    assert judged.possible.tolist() == [6, 6, 0, 6] * 2, "no indexed image is of the class c"
    assert not judged.relevant[2].any()


def test_an_image_of_both_sources_is_a_copy() -> None:
    vectors = unit_vectors(12)
    index, queries = labelled(vectors[:8], "ab" * 4), labelled(vectors[:2], "ab")
    task, kept = make_task([index, queries], set(index.digests), TWO_SOURCES)
    hits, with_copies = search(kept, task)
    assert with_copies[:, 0].tolist() == [0, 1]
    assert 0 not in hits[0] and 1 not in hits[1]
    assert judge(hits, task, with_copies=False).possible.tolist() == [3, 3]


def test_images_that_a_model_cannot_embed_are_left_out() -> None:
    vectors = unit_vectors(20)
    index, queries = labelled(vectors[:12], "ab" * 6, prefix="i"), labelled(vectors[12:], "ab" * 4, prefix="q")
    usable = {*index.digests[2:], *queries.digests[1:]}
    task, kept = make_task([index, queries], usable, TWO_SOURCES)
    assert (kept == np.delete(vectors, [0, 1, 12], axis=0)).all()
    assert (len(task.indexed), task.queries.tolist()) == (10, list(range(10, 17)))


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        ("a" * 12, LEAVE_ONE_OUT, "of one class, 'a'"),
        ("ab" * 3, replace(LEAVE_ONE_OUT, k=5), "too few for 5 hits"),
        ("ab" * 6, TWO_SOURCES, "at least two queries"),
    ],
)
def test_a_task_that_cannot_be_measured(labels: str, options: object, message: str) -> None:
    images = labelled(unit_vectors(len(labels)), labels)
    with pytest.raises(UsageError, match=message):
        make_task([images], set(images.digests), options)  # type: ignore[arg-type]


def test_the_most_frequent_classes_are_those_of_the_index(tmp_path: Path, photo_folder: Path) -> None:
    index, queries = tmp_path / "train", tmp_path / "test"
    image = next(photo_folder.rglob("*.png")).read_bytes()
    for folder, counts in ((index, {"cat": 3, "dog": 2, "bird": 1}), (queries, {"bird": 5, "cat": 1, "dog": 1})):
        for label, count in counts.items():
            (folder / label).mkdir(parents=True)
            for number in range(count):
                (folder / label / f"{number}.png").write_bytes(image)
    options = replace(TWO_SOURCES, source=str(index), query_source=str(queries), top_classes=2)
    (name, indexed), (_, searched) = open_sources(options)
    assert name == "train"
    assert sorted({str(item.label) for item in indexed}) == ["cat", "dog"]
    assert sorted(str(item.label) for item in searched) == ["cat", "dog"]
    assert len(open_sources(replace(options, top_classes=None))[1][1]) == 7
