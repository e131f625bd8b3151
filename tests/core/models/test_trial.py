"""A model file is tried in a process with limits before it runs here: too much memory, too much time, a crash."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cbir.errors import UsageError
from cbir.models import trial
from cbir.models.embedder import Embedder
from cbir.models.sealed import find_model
from cbir.models.text_tower import TextTower
from tests.support.exporting import reseal
from tests.support.onnx_file import DIMENSION, SIDE, cast, node, tensor, write_model
from tests.support.text_file import LENGTH, text_card, write_tower

START, FINISH = cast("images", "floats"), node("Flatten", "floats", "embeddings")


def refused(path: Path, cache: Path) -> str:
    with pytest.raises(UsageError) as caught:
        Embedder(path, device="cpu", cache=cache)
    message = str(caught.value)
    assert "\n" not in message and message.startswith(f"{path} is not a model that cbir can run: ")
    return message.partition("run: ")[2]


def test_a_model_that_passes_is_tried_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_model(tmp_path / "made.onnx", [START, FINISH])
    vectors = Embedder(path, cache=tmp_path / "cache").run(np.ones((2, SIDE, SIDE, 3), np.uint8))
    assert vectors.shape == (2, DIMENSION)
    monkeypatch.setattr(trial, "MAX_SECONDS", 0)
    Embedder(path, cache=tmp_path / "cache")
    assert "took more than 0 s" in refused(path, tmp_path / "another")


def test_the_packaged_models_need_no_trial(model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "MAX_SECONDS", 0)
    Embedder(model_file, cache=tmp_path).embed_text(["red heart"])
    assert not list(tmp_path.iterdir())


def test_a_text_tower_is_tried_once_with_texts_of_the_most_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The graph adds vectors for the places of as many tokens as its card names, so more of them cannot be run."""
    card, places = text_card(()), tensor("places", np.zeros((LENGTH, DIMENSION), np.float32))
    nodes = (node("Add", "words places", "sums"),)
    with pytest.raises(UsageError, match="not a model that cbir can run: .*Add"):
        TextTower(
            write_tower(
                tmp_path / "bad.onnx", replace(card, length=LENGTH + 2), more_nodes=nodes, more_tensors=(places,)
            ),
            cache=tmp_path / "cache",
        )
    good = write_tower(tmp_path / "good.onnx", card, more_nodes=nodes, more_tensors=(places,))
    TextTower(good, cache=tmp_path / "cache")
    monkeypatch.setattr(trial, "MAX_SECONDS", 0)
    TextTower(good, cache=tmp_path / "cache")
    with pytest.raises(UsageError, match="a batch of 8 took more than 0 s"):
        TextTower(good, cache=tmp_path / "another")


def test_a_changed_text_tower_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The packaged one needs no trial, which holds for its very bytes."""

    def change(model: Any) -> None:
        model.producer_version = "changed"

    path = reseal(find_model("efficientnet_lite0-text"), tmp_path / "text.onnx", change)
    with monkeypatch.context() as hurry:
        hurry.setattr(trial, "MAX_SECONDS", 0)
        with pytest.raises(UsageError, match="took more than 0 s"):
            TextTower(path, cache=tmp_path / "cache")
    tower = TextTower(path, cache=tmp_path / "cache")
    assert [record.name for record in (tmp_path / "cache" / "models").iterdir()] == [tower.sha256]


def test_a_text_tower_with_an_operator_that_loops_is_refused(tmp_path: Path) -> None:
    path = write_tower(tmp_path / "text.onnx", text_card(()), more_nodes=(node("Loop", "words", "more"),))
    with pytest.raises(UsageError, match="its graph has operators that are not allowed: Loop"):
        TextTower(path, cache=tmp_path / "cache")


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    Embedder(write_model(tmp_path / "made.onnx", [START, FINISH]), cache=tmp_path / "file")


def test_an_operator_that_loops_is_refused(tmp_path: Path) -> None:
    path = write_model(tmp_path / "made.onnx", [START, FINISH, node("Loop", "floats", "more")])
    assert refused(path, tmp_path) == "its graph has operators that are not allowed: Loop"


def test_a_constant_of_240_gigabytes_is_refused(tmp_path: Path) -> None:
    size = tensor("size", np.array([60_000_000_000], np.int64))
    nodes = [START, node("ConstantOfShape", "size", "large"), node("ReduceMax", "large", "most")]
    path = write_model(
        tmp_path / "made.onnx",
        [*nodes, node("Add", "floats most", "sum"), node("Flatten", "sum", "embeddings")],
        [size],
    )
    assert "8 GiB" in refused(path, tmp_path)


def test_products_that_take_hours_are_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "MAX_SECONDS", 2)
    nodes = [START, node("ConstantOfShape", "size", "m0")]
    nodes += [node("MatMul", f"m{i} m{i}", f"m{i + 1}") for i in range(2000)]
    nodes += [
        node("ReduceMax", "m2000", "most"),
        node("Add", "floats most", "sum"),
        node("Flatten", "sum", "embeddings"),
    ]
    path = write_model(tmp_path / "made.onnx", nodes, [tensor("size", np.array([5000, 5000], np.int64))])
    assert refused(path, tmp_path) == "a batch of 8 took more than 2 s"


def test_a_graph_that_onnxruntime_refuses_is_one_line(tmp_path: Path) -> None:
    path = write_model(tmp_path / "made.onnx", [START, node("Flatten", "nowhere", "embeddings")])
    assert "nowhere" in refused(path, tmp_path)


def test_a_trial_that_is_killed_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "MAX_MEMORY", 2**26)  # not enough to import anything
    assert refused(write_model(tmp_path / "made.onnx", [START, FINISH]), tmp_path)


def test_a_trial_imports_from_where_the_program_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('found where the program looks first')")
    monkeypatch.syspath_prepend(tmp_path)
    assert "found where the program looks first" in refused(
        write_model(tmp_path / "made.onnx", [START, FINISH]), tmp_path
    )


def test_a_process_with_a_lower_limit_of_memory_keeps_it(tmp_path: Path) -> None:
    path = write_model(tmp_path / "made.onnx", [START, FINISH])
    program = (
        "import resource, sys; from pathlib import Path; from cbir.models.embedder import Embedder;"
        "resource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32));"
        "Embedder(Path(sys.argv[1]), threads=1, cache=Path(sys.argv[2]))"
    )
    subprocess.run([sys.executable, "-c", program, path, tmp_path / "cache"], check=True)
    assert list((tmp_path / "cache" / "models").iterdir())
