"""The files of `cbir-bench exchange`, read back the way ann-benchmarks and VectorDBBench do."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from cbir.bench import command
from cbir.bench.core import ground_truth
from cbir.bench.core.ground_truth import angular, exact_neighbours
from cbir.bench.core.ranking import EPSILON, recall
from cbir.bench.core.workload import workload_of
from cbir.bench.exchange import files, measure
from cbir.bench.exchange.measure import ANN_EPSILON, cases, mean_recall

from cbir.errors import CbirError
from cbir.records import Hit, Vector, point_id
from cbir.settings import Settings
from cbir.stores.base import DEFAULT_PARAMS, SearchParams
from cbir.stores.embedded.reader import EmbeddedStore
from cbir.stores.registry import open_store
from tests.support.building import both, build, unit_vectors
from tests.support.running import Program, runner

h5py = pytest.importorskip("h5py")

COUNT, QUERIES, K = 500, 40, 20
VECTORS = unit_vectors(COUNT)
VECTORS[7] = VECTORS[8] = VECTORS[9]
ASKED = ("--queries", QUERIES, "-k", K, "--rounds", 2)


class Short:
    """A real store that answers with too few hits, or fails."""

    def __init__(self, store: EmbeddedStore, most: int, fails_at: int | None = None):
        self._store, self._most, self._fails_at = store, most, fails_at

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def search(self, vectors: Vector, k: int, *, params: SearchParams = DEFAULT_PARAMS) -> list[list[Hit]]:
        if params.ef == self._fails_at:
            raise CbirError("out of order")
        return self._store.search(vectors, min(k, self._most), params=params)


def advance(done: int) -> None:
    """Hear of nothing."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index folder with the usual stores and one of lists."""
    root = tmp_path_factory.mktemp("made") / "index"
    build([*both(root), f"faiss:{root}/lists?index=IVF16,Flat"], VECTORS)
    return root


@pytest.fixture
def store(made: Path) -> Iterator[EmbeddedStore]:
    opened = open_store(f"faiss:{made}/lists", "made", Settings())
    assert isinstance(opened, EmbeddedStore)
    yield opened
    opened.close()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    return runner(monkeypatch, capsys, command.main, "cbir-bench")


@pytest.fixture
def written(made: Path, tmp_path: Path, run: Program) -> tuple[Path, dict[str, Any]]:
    """The folder that the command wrote, and its result."""
    stores = ("--store", f"faiss:{made}/faiss", "--store", f"faiss:{made}/lists")
    code, out, err = run(
        "exchange", tmp_path / "out", *stores, *ASKED, "--effort", "1,2", "--json", tmp_path / "r.json"
    )
    assert (code, "README.md says how" in out, "cbir-faiss-2" in out) == (0, True, True), err
    return tmp_path / "out", json.loads((tmp_path / "r.json").read_text())


def ann_results(folder: Path) -> Iterator[tuple[dict[str, Any], Any]]:
    """What ann-benchmarks finds under results/: it opens each file to write its metrics beside the figures."""
    for path in sorted((folder / "results" / "made" / str(K)).rglob("*.hdf5")):
        with h5py.File(path, "r+") as file:
            file.create_group("metrics")
            yield dict(file.attrs), file


def ann_recall(true_distances: np.ndarray, run_distances: np.ndarray, count: int, epsilon: float) -> float:
    """ann-benchmarks' k-nn metric: hits not farther than the true neighbour at `count`, and a bit."""
    limits = true_distances[:, count - 1] + epsilon
    return float(
        np.mean([(row[:count] <= limit).sum() for row, limit in zip(run_distances, limits, strict=True)]) / count
    )


def test_the_data_set_of_ann_benchmarks(written: tuple[Path, dict[str, Any]]) -> None:
    with h5py.File(written[0] / "data" / "made.hdf5", "r") as file:
        attributes = dict(file.attrs)
        train, test, neighbors, distances = (file[name][:] for name in ("train", "test", "neighbors", "distances"))
    assert {name: attributes[name] for name in ("type", "distance", "point_type")} == {
        "type": "dense",
        "distance": "angular",
        "point_type": "float",
    }
    assert (int(attributes["dimension"]), bool(attributes["cbir_query_is_a_neighbour_of_itself"])) == (8, True)
    assert (train.shape, test.shape, neighbors.shape, distances.shape) == (
        (COUNT, 8),
        (QUERIES, 8),
        *[(QUERIES, K)] * 2,
    )
    assert [one.dtype.kind for one in (train, test, neighbors, distances)] == ["f", "f", "i", "f"]
    assert sorted(map(bytes, train)) == sorted(map(bytes, VECTORS))
    double = train.astype(np.float64)
    for query, near, far in zip(test.astype(np.float64), neighbors, distances, strict=True):
        every = 1 - double @ query / np.linalg.norm(double, axis=1) / np.linalg.norm(query)
        assert far == pytest.approx(np.sort(every)[:K], abs=1e-6)
        assert every[near] == pytest.approx(far, abs=1e-6)
        assert far[0] == pytest.approx(0, abs=1e-6), "the query is among its own neighbours"


def test_the_results_of_ann_benchmarks(written: tuple[Path, dict[str, Any]], made: Path) -> None:
    folder, result = written
    with h5py.File(folder / "data" / "made.hdf5", "r") as file:
        true_distances, train, test = file["distances"][:], file["train"][:], file["test"][:]
    found = {}
    for attributes, file in ann_results(folder):
        times, neighbors, distances = file["times"][:], file["neighbors"][:], file["distances"][:]
        assert (attributes["dataset"], int(attributes["count"]), attributes["distance"]) == ("made", K, "angular")
        assert (bool(attributes["batch_mode"]), bool(attributes["expect_extra"])) == (False, False)
        assert int(attributes["run_count"]) == 2
        assert times.mean() == pytest.approx(attributes["best_search_time"], rel=1e-4)
        assert np.isnan(attributes["build_time"])
        assert attributes["index_size"] > 0
        assert attributes["candidates"] == (neighbors >= 0).sum() / QUERIES
        found[attributes["algo"], attributes["name"].split()[1]] = attributes
        for query, row, near in zip(test, neighbors, distances, strict=True):
            exact = 1 - train[row].astype(np.float64) @ query.astype(np.float64)
            assert near == pytest.approx(exact, abs=1e-6), "distances are those of the neighbours, not a store's scores"
        ours = [
            recall((-row).tolist(), -float(limit), K, ANN_EPSILON)
            for row, limit in zip(distances, true_distances[:, -1], strict=True)
        ]
        assert ann_recall(true_distances, distances, K, ANN_EPSILON) == pytest.approx(np.mean(ours))
    lists = ("cbir-faiss-2", "ivf_nprobe_1")
    assert set(found) == {("cbir-faiss-1", f"graph_ef_{K}"), lists, ("cbir-faiss-2", "ivf_nprobe_2")}
    assert found[lists]["cbir_recall"] < 1, "one list of sixteen misses neighbours"
    by_name = {(one["algorithm"], one["parameters"]): one for one in result["runs"]}
    for name, attributes in found.items():
        assert by_name[name]["recall"] == attributes["cbir_recall"]
        assert by_name[name]["recall_ann_benchmarks"] >= attributes["cbir_recall"]
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == set(result["files"])
    assert (result["benchmark"], result["settings"]["k"], result["failed"]) == ("exchange", K, [])


def test_recall_is_cbirs_own_on_the_same_hits(store: EmbeddedStore) -> None:
    workload = workload_of([store], K - 1, QUERIES, 3)
    truth = exact_neighbours(workload.truth, advance)
    (found,), failed = measure.measure(workload, cases(workload, [1]), 1, advance)
    assert failed == []
    ours = []
    for number, vector in enumerate(workload.vectors):
        (hits,) = store.search(vector[None], K, params=SearchParams(ef=1))
        (exact,) = store.search(vector[None], K, params=SearchParams(exact=True))
        scores = workload.truth.scores(number, [hit.id for hit in hits])
        (last,) = workload.truth.scores(number, [exact[-1].id])
        ours.append([recall(scores, last, K, epsilon) for epsilon in (ANN_EPSILON, EPSILON)])
    theirs = ann_recall(truth.distances, found.found(workload).distances, K, ANN_EPSILON)
    assert [theirs, mean_recall(truth, found.found(workload), EPSILON)] == pytest.approx(np.mean(ours, axis=0))
    assert mean_recall(truth, truth, EPSILON) == 1


def test_the_files_of_vectordbbench(written: tuple[Path, dict[str, Any]]) -> None:
    folder = written[0]
    train = list(pq.ParquetFile(folder / "train.parquet").iter_batches(100))
    ids = np.concatenate([batch["id"].to_numpy() for batch in train])
    vectors = np.array([one for batch in train for one in batch["emb"].to_pylist()], np.float32)
    assert ids.tolist() == list(range(COUNT))
    test, neighbors, names = (pq.read_table(folder / f"{name}.parquet") for name in ("test", "neighbors", "ids"))
    schema = pq.read_schema(folder / "train.parquet")
    assert (schema.field("id").type, schema.field("emb").type.value_type) == ("int64", "float")
    assert test["id"].to_pylist() == neighbors["id"].to_pylist()
    asked = np.array(test["emb"].to_pylist(), np.float32)
    assert (vectors[test["id"].to_numpy()] == asked).all()
    for query, near in zip(asked, neighbors["neighbors_id"].to_pylist(), strict=True):
        scores = np.sort(vectors.astype(np.float64) @ query.astype(np.float64))[::-1]
        assert vectors[near].astype(np.float64) @ query == pytest.approx(scores[:K], abs=1e-6)
    assert names["id"].to_pylist() == list(range(COUNT))
    for row, point, key, label in zip(*(names[name].to_pylist() for name in names.column_names), strict=True):
        assert point == point_id("set", key)
        assert label == f"class {int(key) % 3}"
        assert (vectors[row] == VECTORS[int(key)]).all()


def test_hits_that_are_missing_are_padded(store: EmbeddedStore) -> None:
    workload = workload_of([Short(store, 5)], K - 1, 10, 1)
    (found,), _ = measure.measure(workload, cases(workload, [16]), 1, advance)
    assert (found.found(workload).rows[:, 5:] == -1).all()
    assert np.isinf(found.found(workload).distances[:, 5:]).all()
    assert (found.found(workload).rows[:, :5] >= 0).all()
    assert mean_recall(exact_neighbours(workload.truth, advance), found.found(workload), ANN_EPSILON) == pytest.approx(
        5 / K
    )


def test_a_failed_width_says_why_and_has_no_figures(store: EmbeddedStore) -> None:
    workload = workload_of([Short(store, K, fails_at=2)], K - 1, 10, 1)
    found, failed = measure.measure(workload, cases(workload, [1, 2, 4]), 1, advance)
    assert [one.parameters for one in found] == ["ivf_nprobe_1", "ivf_nprobe_4"]
    assert [(one.parameters, one.failed) for one in failed] == [("ivf_nprobe_2", "out of order")]


def test_exact_neighbours_in_blocks(store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    workload = workload_of([store], K - 1, QUERIES, 1)
    whole = exact_neighbours(workload.truth, advance)
    monkeypatch.setattr(ground_truth, "_CELLS", 3 * COUNT)
    parts = exact_neighbours(workload.truth, advance)
    assert (parts.rows == whole.rows).all()
    everything = replace(workload.truth, k=COUNT - 1)
    assert np.sort(exact_neighbours(everything, advance).rows, axis=1).tolist() == [list(range(COUNT))] * QUERIES


def test_angular_is_of_any_length() -> None:
    vectors = np.array([[2, 0], [0, 3], [-1, 0], [5, 5]], np.float32)
    assert angular(vectors, 0, np.arange(4)) == pytest.approx([0, 1, 2, 1 - np.sqrt(0.5)])


def test_what_is_there_is_refused_or_replaced(made: Path, tmp_path: Path, run: Program) -> None:
    asked = ("exchange", tmp_path / "out", "--store", both(made)[1], *ASKED, "--effort", 32)
    assert run(*asked)[0] == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    code, out, err = run(*asked)
    assert (code, out, err.count("\n"), "--overwrite" in err) == (2, "", 1, True)
    assert all(path.read_bytes() == data for path, data in before.items())
    (tmp_path / "out" / "train.parquet").write_bytes(b"old")
    assert run(*asked, "--overwrite")[0] == 0
    assert (tmp_path / "out" / "train.parquet").read_bytes() == before[tmp_path / "out" / "train.parquet"]
    assert not list((tmp_path / "out").rglob("*.tmp"))


def test_a_disk_that_fails_leaves_no_half_file(
    made: Path, tmp_path: Path, run: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "sync", full)
    for format_, name in (("hdf5", "made.hdf5"), ("parquet", "train.parquet")):
        code, _, err = run("exchange", tmp_path / format_, "--store", both(made)[1], *ASKED, "--format", format_)
        assert (code, err.count("\n")) == (1, 1)
        assert f"{name}: No space left on device" in err
        assert [path.name for path in (tmp_path / format_).rglob("*") if path.is_file()] == ["README.md"]
    (tmp_path / "file").write_text("")
    code, _, err = run("exchange", tmp_path / "file", "--store", both(made)[1], *ASKED)
    assert (code, err.count("\n"), "cannot write" in err) == (1, 1, True)


def test_without_h5py(made: Path, tmp_path: Path, run: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    asked = ("exchange", tmp_path / "out", "--store", both(made)[1], *ASKED)
    code, out, err = run(*asked)
    assert (code, out, "pip install 'cbir[bench]'" in err) == (2, "", True)
    assert not (tmp_path / "out").exists()
    assert run(*asked, "--format", "parquet")[0] == 0
    there = {path.name for path in (tmp_path / "out").iterdir()}
    assert there == {"README.md", "train.parquet", "test.parquet", "neighbors.parquet", "ids.parquet"}
    assert "ann-benchmarks" not in (tmp_path / "out" / "README.md").read_text()


def test_a_format_that_is_not(made: Path, tmp_path: Path, run: Program) -> None:
    code, _, err = run("exchange", tmp_path / "out", "--store", both(made)[1], "--format", "csv")
    assert (code, "hdf5 and parquet" in err) == (2, True)
