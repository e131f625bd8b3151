"""A run never dies of an image: every file of the hostile corpus has one outcome, and costs no other file anything."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cbir.models.sealed import find_model, seal
from cbir.pipeline.report import IngestReport
from cbir.pipeline.run import ingest
from cbir.records import Vector
from cbir.settings import Settings
from cbir.sources.base import SourceOptions
from cbir.sources.registry import open_source
from cbir.stores.registry import open_store
from tests.support.building import catalogs
from tests.support.examples import SampleImages
from tests.support.hostile.corpus import corpus, write
from tests.support.hostile.encoders import encoded, gradient_image
from tests.support.hostile.files import IGNORED, STORED, UNKNOWN

NO_VECTOR = "the model returned no finite vector of length 1"


@dataclass(frozen=True)
class Run:
    """A run over the whole corpus: what was to come of each file, what came of it, and the vectors by key."""

    folder: Path
    expected: dict[str, str]
    summary: dict[str, object]
    reasons: dict[str, str]
    vectors: dict[str, Vector]


def command(*arguments: object, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run the ingest command."""
    return subprocess.run(
        [sys.executable, "-m", "cbir.ingest.command", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, **environment},
    )


def vectors_in(url: str) -> dict[str, Vector]:
    """Return the vectors of a store by their images' keys."""
    store = open_store(url, None, Settings())
    try:
        return {str(point.payload["key"]): point.vector for point in store.points()}
    finally:
        store.close()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("hostile")
    folder = root / "corpus"
    folder.mkdir()
    expected = write(folder)
    stores = ("--store", f"edge:{root}/index", "--store", f"faiss:{root}/index/flat?index=Flat")
    done = command(folder, *stores, "--json")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    summary = json.loads(done.stdout)
    reasons = {failure["key"]: failure["reason"] for failure in summary["failures"]}
    assert len(reasons) == len(summary["failures"])
    return Run(folder, expected, summary, reasons, vectors_in(f"edge:{root}/index"))


def test_every_file_has_the_outcome_that_the_table_says(run: Run) -> None:
    assert len(run.expected) >= 200
    found = {**dict.fromkeys(run.expected, IGNORED), **dict.fromkeys(run.vectors, STORED), **run.reasons}
    assert set(found) == set(run.expected)
    wrong = {key: (found[key], outcome) for key, outcome in run.expected.items() if not found[key].startswith(outcome)}
    assert not wrong
    read = [outcome for outcome in run.expected.values() if outcome != IGNORED]
    assert run.summary["read"] == len(read)
    assert run.summary["stored"] == read.count(STORED) == len(run.vectors)
    assert run.summary["skipped"] == len(read) - read.count(STORED) == len(run.reasons)
    assert sum(run.summary["reasons"].values()) == len(run.reasons)


def test_what_is_good_embeds_as_if_it_were_alone(run: Run, tmp_path: Path, model_file: Path) -> None:
    good = [one for one in corpus() if one.outcome == STORED]
    for one in good:
        path = tmp_path / run.folder.name / one.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(one.data)
    alone = open_source(str(tmp_path / run.folder.name), SourceOptions())
    summary = ingest(alone, catalogs(f"faiss:{tmp_path}/index?index=Flat"), model_file, Settings(batch_size=5))
    assert (summary.stored, summary.skipped) == (len(good), 0)
    for key, vector in vectors_in(f"faiss:{tmp_path}/index").items():
        assert float(vector @ run.vectors[key]) >= 0.99999, key


def test_the_same_bytes_in_parquet_have_the_same_outcome(run: Run, tmp_path: Path, model_file: Path) -> None:
    files = corpus()
    rows = datasets.Dataset.from_dict({"image": [{"bytes": one.data, "path": one.name} for one in files]})
    rows.cast_column("image", datasets.Image()).to_parquet(str(tmp_path / "corpus.parquet"))
    source = open_source(str(tmp_path / "corpus.parquet"), SourceOptions())
    summary = ingest(source, catalogs(f"faiss:{tmp_path}/index?index=Flat"), model_file, Settings())
    names = {one.name for one in files}
    assert {one["key"]: one["reason"] for one in summary.failures} == {
        key: reason for key, reason in run.reasons.items() if key in names
    }
    assert set(vectors_in(f"faiss:{tmp_path}/index")) == names & set(run.vectors)


@pytest.fixture(scope="module")
def twelve(sample_images: SampleImages, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Vector]]:
    """A folder of twelve good images, and their vectors from a clean run."""
    root = tmp_path_factory.mktemp("twelve")
    (root / "set").mkdir()
    for number, (_, _, data) in enumerate(sample_images[:300:25]):
        (root / "set" / f"{number:02}.png").write_bytes(data)
    summary, vectors = ingest_folder(root / "set", root / "index", Settings())
    assert (summary.stored, len(vectors)) == (12, 12)
    return root / "set", vectors


def ingest_folder(folder: Path, index: Path, choices: Settings) -> tuple[IngestReport, dict[str, Vector]]:
    source = open_source(str(folder), SourceOptions())
    summary = ingest(source, catalogs(f"faiss:{index}?index=Flat"), find_model("efficientnet_lite0"), choices)
    return summary, vectors_in(f"faiss:{index}")


BAD = [one for one in corpus() if one.outcome != STORED]


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    places=st.sets(st.integers(0, 11), min_size=1, max_size=4),
    batch=st.integers(1, 13),
    workers=st.integers(1, 2),
    data=st.data(),
)
def test_a_bad_file_at_any_place_of_a_batch_leaves_the_others_as_they_are(
    places: set[int],
    batch: int,
    workers: int,
    data: st.DataObject,
    twelve: tuple[Path, dict[str, Vector]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    good, clean = twelve
    root = tmp_path_factory.mktemp("batch")
    shutil.copytree(good, root / "set")
    for place in places:
        (root / "set" / f"{place:02}.png").write_bytes(data.draw(st.sampled_from(BAD)).data)
    summary, vectors = ingest_folder(root / "set", root / "index", Settings(batch_size=batch, workers=workers))
    bad = {f"{place:02}.png" for place in places}
    assert {one["key"] for one in summary.failures} == bad
    assert set(vectors) == set(clean) - bad
    assert all(float(vector @ clean[key]) >= 0.99999 for key, vector in vectors.items())


def blinded(model: bytes, name: str, value: np.ndarray) -> bytes:
    """Return a model file with other values in one of its fp16 weights, and its seal renewed."""
    head = name.encode() + b"\x4a\xc0\x0d"  # the weight's name, and its raw data of 1,728 bytes
    at = model.index(head) + len(head)
    return seal(model[:at] + value.astype(np.float16).tobytes() + model[at + 1728 :])


def test_a_image_that_the_model_has_no_vector_for_is_skipped_alone(tmp_path: Path, model_file: Path) -> None:
    # Infinite weights of red and green: where one of them is dark and the other bright, inf - inf is not a number.
    stem = np.zeros((32, 3, 3, 3))
    stem[0, :2, 0, 0] = np.inf
    blind = tmp_path / "blind.onnx"
    blind.write_bytes(blinded(model_file.read_bytes(), "backbone.conv_stem.weight.fp16", stem))
    (tmp_path / "set").mkdir()
    for number in range(9):
        image = gradient_image().convert("L") if number % 3 else gradient_image()
        (tmp_path / "set" / f"{number}.png").write_bytes(encoded(image, "PNG"))
    (tmp_path / "set" / "text.png").write_bytes(b"text")
    given = (tmp_path / "set", "--store", f"faiss:{tmp_path}/index?index=Flat", "--model", blind, "--batch-size", 4)
    done = command(*given, "--json", CBIR_DEVICE="cpu")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["read"], summary["stored"], summary["skipped"]) == (10, 6, 4)
    assert summary["reasons"] == {NO_VECTOR: 3, UNKNOWN: 1}
    assert {one["key"] for one in summary["failures"]} == {"0.png", "3.png", "6.png", "text.png"}
    assert all(np.isfinite(vector).all() for vector in vectors_in(f"faiss:{tmp_path}/index").values())


def test_a_model_that_gives_nothing_but_nan_stores_nothing_and_says_why(tmp_path: Path, model_file: Path) -> None:
    blind = tmp_path / "blind.onnx"
    blind.write_bytes(
        blinded(model_file.read_bytes(), "backbone.conv_stem.weight.fp16", np.full((32, 3, 3, 3), np.nan))
    )
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.png").write_bytes(encoded(gradient_image(), "PNG"))
    done = command(tmp_path / "set", "--store", f"edge:{tmp_path}/index", "--model", blind, CBIR_DEVICE="cpu")
    assert done.returncode == 1
    assert f"skipped 1: {NO_VECTOR}" in done.stdout
    assert "no image could be stored" in done.stderr
    assert "Traceback" not in done.stderr
