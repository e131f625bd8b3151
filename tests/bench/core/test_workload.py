"""Workloads of real stores, and of stores that are made wrong on purpose."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cbir.bench.core.workload import (
    EXACT,
    ORDINARY,
    notes,
    open_stores,
    open_workload,
    recalls_of,
    search_all,
    search_method,
    without_held_out,
    workload_of,
)

from cbir.errors import CbirError, UsageError
from cbir.models.card import ModelRef
from cbir.records import Hit, Vector
from cbir.settings import Settings
from cbir.stores.base import Store, StoreInfo
from tests.support.bench_stores import COUNT, VECTORS, AlteredStore, altered
from tests.support.building import both, build
from tests.support.running import Program

OTHER_ID = "b6d7c0c4-6f0e-5d0e-9c43-1f6b1f0c8a51"


def unchanged(store: Store, vectors: Vector, k: int, **options: Any) -> list[list[Hit]]:
    return store.search(vectors, k, **options)


def test_queries_do_not_depend_on_the_order_of_stores(made: Path) -> None:
    with open_workload(both(made), "made", 5, 30, 3, Settings()) as workload:
        first = workload.vectors
    with open_workload(both(made)[::-1], "made", 5, 30, 3, Settings()) as workload:
        assert (workload.vectors == first).all()
    with open_workload(both(made), "made", 5, 30, 4, Settings()) as workload:
        assert not (workload.vectors == first).all()


def test_the_recall_of_missing_hits(store: Store) -> None:
    workload = workload_of([store, altered(store, lambda hits: [hits[0], *hits[2:]])], 5, 40, 1)
    whole, lossy = (search_all(workload, opened, EXACT, lambda done: None) for opened in workload.stores)
    assert set(recalls_of(workload, whole)) == {1}
    assert set(recalls_of(workload, lossy)) == {0.8}


def test_held_out_points_are_searched_for_or_added_and_are_in_no_truth(store: Store) -> None:
    workload, added = without_held_out([store], 5, 40, 30, 1)
    ids, vectors = store.matrix()
    assert len(workload.vectors) == 40 and len(added) == 30
    assert len(workload.truth.position) == len(workload.truth.vectors) == COUNT - 70
    assert not set(workload.queries.names) & set(workload.truth.position)
    rows = [ids.index(name) for name in workload.queries.names]
    assert (vectors[rows] == workload.vectors).all()
    kept = {vector.tobytes() for vector in workload.truth.vectors}
    copies = {vectors[7].tobytes()}  # of a point that is kept
    assert not {vector.tobytes() for vector in (*workload.vectors, *added)} & kept - copies
    workload, added = without_held_out([store], 5, COUNT, COUNT, 1)
    assert len(workload.vectors) == len(added) == COUNT // 4


@pytest.mark.parametrize(
    "alter", [lambda hits: [hits[0], *hits[:-1]], lambda hits: [replace(hits[0], id=OTHER_ID), *hits[1:]]]
)
def test_impossible_hits_are_refused(store: Store, alter: Callable[[list[Hit]], list[Hit]]) -> None:
    workload = workload_of([altered(store, alter)], 5, 40, 1)
    with pytest.raises(CbirError, match="returned a point twice, or one that it does not have"):
        search_all(workload, workload.stores[0], ORDINARY, lambda done: None)


class OtherModel(AlteredStore):
    @property
    def info(self) -> StoreInfo:
        return replace(self._store.info, model=ModelRef("other", "1" * 64, 8, 1, random_weights=False))


class OtherVectors(AlteredStore):
    def vectors(self, point_ids: Sequence[str]) -> list[Vector | None]:
        return [None if vector is None else -vector for vector in self._store.vectors(point_ids)]


class OtherIds(AlteredStore):
    def matrix(self) -> tuple[list[str], Vector]:
        ids, vectors = self._store.matrix()
        return [OTHER_ID, *ids[1:]], vectors


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (OtherModel, r"models \w{12} and 111111111111"),
        (OtherVectors, "the vectors of"),
        (OtherIds, "2 ids are in one store only"),
    ],
)
def test_stores_with_other_points_are_refused(store: Store, kind: Any, reason: str) -> None:
    with pytest.raises(UsageError, match=f"do not hold the same points of made: .*{reason}"):
        workload_of([store, kind(store, unchanged)], 5, 40, 1)


def test_stores_with_more_points_are_refused_in_one_line(made: Path, tmp_path: Path, run: Program) -> None:
    other = tmp_path / "other"
    build(both(other), VECTORS[:-1])
    code, out, err = run("parity", "--store", both(made)[0], "--store", both(other)[1])
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "do not hold the same points of made: 600 and 599 points" in err


def test_the_newest_common_collection(made: Path, tmp_path: Path, run: Program) -> None:
    other = tmp_path / "other"
    build(both(other), VECTORS, collection="else")
    urls = "--store", both(made)[0], "--store", both(other)[0]
    code, _, err = run("parity", *urls)
    assert (code, err.count("\n")) == (2, 1)
    assert f"{both(made)[0]} has made; {both(other)[0]} has else" in err
    build(both(other), VECTORS, collection="made")
    build(both(other), VECTORS, collection="newer")
    code, out, _ = run("parity", *urls, "--queries", 20)
    assert code == 0
    assert "20 queries of 600 points" in out
    assert run("parity", *urls, "--collection", "newer")[0] == 2


def test_the_same_store_twice_is_refused_however_it_is_written(
    made: Path, run: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(made.parent)
    (tmp_path / "link").symlink_to(made)
    for again in ("edge:index", "edge:./index", "edge:index/edge?ef=128", f"edge:{tmp_path}/link"):
        code, _, err = run("parity", "--store", both(made)[0], "--store", again)
        assert (code, "the same store twice" in err) == (2, True), again
    assert run("parity", "--store", "edge:index", "--store", "edge:./index?ef=16", "--queries", 5)[0] == 0
    code, _, err = run("parity", "--store", "http://me:secret@host:1", "--store", "http://host:1/")
    assert (code, err) == (2, "error: the same store twice: http://host:1, http://host:1/\n")


def test_too_few_points(tmp_path: Path, run: Program) -> None:
    build(both(tmp_path / "index"), VECTORS[:1])
    code, _, err = run("parity", "--store", f"edge:{tmp_path}/index")
    assert (code, "at least 8" in err) == (2, True)


def test_how_a_store_searches(store: Store) -> None:
    info = replace(store.info, url="edge:a", access="graph", count=2000, indexed=1500, options={"ef": "64"})
    assert search_method(info, ORDINARY) == "graph (1,500 of 2,000 points indexed, ef=64)"
    assert search_method(replace(info, options={}), ORDINARY) == "graph (1,500 of 2,000 points indexed)"
    assert search_method(replace(info, access="ivf", options={"nprobe": "8"}), ORDINARY) == "ivf (nprobe=8)"
    assert search_method(info, EXACT) == search_method(replace(info, access="scan"), ORDINARY) == "scan"
    workload = replace(workload_of([store], 5, 10, 1), infos=[info])
    assert any("WARNING: edge:a has 1,500 of 2,000 points in its graph" in note for note in notes(workload))


def test_what_is_held_out_has_no_copy(tmp_path: Path) -> None:
    vectors = VECTORS[:100].copy()
    vectors[60:] = vectors[:40]
    urls = both(tmp_path / "index")
    build(urls, vectors)
    with open_stores(urls[1:], None, Settings()) as stores:
        workload, added = without_held_out(stores, 5, 15, 10, 1)
    held_out = np.concatenate([workload.vectors, added])
    assert 0 < len(workload.vectors) <= 15 and len(workload.truth.vectors) == 100 - len(held_out)
    assert (held_out @ workload.truth.vectors.T).max() < 1 - 1e-5
