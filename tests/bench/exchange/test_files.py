"""The files of `cbir-bench exchange`, read back the way ann-benchmarks and VectorDBBench do."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from cbir.bench.core.ranking import recall
from cbir.bench.exchange import files

from cbir.records import point_id
from tests.support.building import both
from tests.support.exchange import ANN_EPSILON, COUNT, OPTIONS, QUERIES, VECTORS, K, ann_recall, ann_results
from tests.support.running import Program

h5py = pytest.importorskip("h5py")


def test_the_data_set_of_ann_benchmarks(written: tuple[Path, dict[str, Any]]) -> None:
    with h5py.File(written[0] / "data" / "made.hdf5", "r") as file:
        attributes = dict(file.attrs)
        train, test, neighbors, distances = (file[name][:] for name in ("train", "test", "neighbors", "distances"))
    assert {name: attributes[name] for name in ("type", "distance", "point_type")} == {
        "type": "dense",
        "distance": "angular",
        "point_type": "float",
    }
    assert int(attributes["dimension"]) == 8 and "made of stored points" in attributes["cbir_queries"]
    assert (train.shape, test.shape, neighbors.shape, distances.shape) == (
        (COUNT, 8),
        (QUERIES, 8),
        *[(QUERIES, K)] * 2,
    )
    assert [array.dtype.kind for array in (train, test, neighbors, distances)] == ["f", "f", "i", "f"]
    assert sorted(map(bytes, train)) == sorted(map(bytes, VECTORS))
    double = train.astype(np.float64)
    for query, near, far in zip(test.astype(np.float64), neighbors, distances, strict=True):
        every = 1 - double @ query / np.linalg.norm(double, axis=1) / np.linalg.norm(query)
        assert far == pytest.approx(np.sort(every)[:K], abs=1e-6)
        assert every[near] == pytest.approx(far, abs=1e-6)
        assert far[0] > 1e-5, "no query is stored"


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
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == set(result["files"])
    assert (result["benchmark"], result["k"]) == ("exchange", K)
    assert result["failed"] == {}


def test_the_files_of_vectordbbench(written: tuple[Path, dict[str, Any]]) -> None:
    folder = written[0]
    train = list(pq.ParquetFile(folder / "train.parquet").iter_batches(100))
    ids = np.concatenate([batch["id"].to_numpy() for batch in train])
    vectors = np.array([vector for batch in train for vector in batch["emb"].to_pylist()], np.float32)
    assert ids.tolist() == list(range(COUNT))
    test, neighbors, names = (pq.read_table(folder / f"{name}.parquet") for name in ("test", "neighbors", "ids"))
    schema = pq.read_schema(folder / "train.parquet")
    assert (schema.field("id").type, schema.field("emb").type.value_type) == ("int64", "float")
    assert test["id"].to_pylist() == neighbors["id"].to_pylist() == list(range(QUERIES))
    queries = np.array(test["emb"].to_pylist(), np.float32)
    for query, near in zip(queries, neighbors["neighbors_id"].to_pylist(), strict=True):
        scores = np.sort(vectors.astype(np.float64) @ query.astype(np.float64))[::-1]
        assert vectors[near].astype(np.float64) @ query == pytest.approx(scores[:K], abs=1e-6)
    assert names["id"].to_pylist() == list(range(COUNT))
    for row, point, key, label in zip(*(names[name].to_pylist() for name in names.column_names), strict=True):
        assert point == point_id("set", key)
        assert label == f"class {int(key) % 3}"
        assert (vectors[row] == VECTORS[int(key)]).all()


def test_a_disk_that_fails_leaves_no_half_file(
    made: Path, tmp_path: Path, run: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "sync", full)
    for format_, name in (("hdf5", "made.hdf5"), ("parquet", "train.parquet")):
        code, _, err = run("exchange", tmp_path / format_, "--store", both(made)[1], *OPTIONS, "--format", format_)
        assert (code, err.count("\n")) == (1, 1)
        assert f"{name}: No space left on device" in err
        assert [path.name for path in (tmp_path / format_).rglob("*") if path.is_file()] == []
    (tmp_path / "file").write_text("")
    code, _, err = run("exchange", tmp_path / "file", "--store", both(made)[1], *OPTIONS)
    assert (code, err.count("\n"), "Cannot write" in err) == (1, 1, True)
