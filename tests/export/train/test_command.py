"""`cbir-export head` and `train` as a user calls them: what they write, what they refuse, and how they continue."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cbir.errors import CbirError, UsageError
from cbir.evaluation.trainings import kept_trainings
from cbir.models.embedder import Embedder
from cbir.models.sealed import find_model
from cbir.settings import Settings
from tests.support.exporting import export
from tests.support.trainings import RECIPE

pytest.importorskip("torch", reason="the extra `export` is not installed")

from cbir.export.command import main

from tests.support.running import runner

pytestmark = [pytest.mark.export, pytest.mark.filterwarnings("ignore")]

SHORT = (
    "--weights",
    "random",
    "--size",
    "32",
    "--epochs",
    "3",
    "-b",
    "16",
    "--dimension",
    "16",
    "--learning-rate",
    "0.002",
)


def words(data: object, output: Path, *more: object) -> list[str]:
    return [str(word) for word in ("train", RECIPE.backbone, data, "-o", output, *SHORT, *more)]


def refused(monkeypatch: Any, capsys: Any, arguments: list[str]) -> tuple[int, str]:
    """Return the exit code and the one line of a command that fails."""
    code, _, err = runner(monkeypatch, capsys, main, "cbir-export")(*arguments)
    (line,) = [line for line in err.splitlines() if line.startswith("error")]
    assert "Traceback" not in err
    return code, line


@pytest.fixture(scope="module")
def trained(coloured: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that was trained without interruption."""
    path = tmp_path_factory.mktemp("trained") / "tiny.onnx"
    export(*words(coloured, path))
    return path


def test_an_input_is_not_overwritten(three_classes: Path, coloured: Path, tmp_path: Path) -> None:
    model = Path(shutil.copy(find_model("efficientnet_lite0"), tmp_path / "model.onnx"))
    with pytest.raises(UsageError, match="is an input and would be overwritten"):
        export("head", model, three_classes, "-o", model)
    weights = model.with_suffix(".safetensors")
    weights.touch()
    with pytest.raises(UsageError, match="would be overwritten"):
        export("train", RECIPE.backbone, coloured, "--weights", weights, "-o", model)


def test_a_model_with_a_head_gets_no_second_head(three_classes: Path, tmp_path: Path) -> None:
    model = tmp_path / "with-head.onnx"
    export("head", find_model("efficientnet_lite0"), three_classes, "--epochs", "1", "--dimension", "8", "-o", model)
    with pytest.raises(UsageError, match="already has a trained head"):
        export("head", model, three_classes, "-o", tmp_path / "second.onnx")


def test_the_file_says_how_it_was_trained(trained: Path, coloured: Path) -> None:
    card = Embedder(trained).card
    training = card.training
    assert training is not None
    assert training.run is not None
    assert not card.random_weights
    assert (card.name, card.dimension, card.input.size, card.weights) == ("tiny", 16, 32, "file:tiny.safetensors")
    assert card.license == "that of its training images"
    assert (training.kind, training.classes, training.images) == ("train", ["blue", "green", "red"], 50)
    assert training.run.recipe == RECIPE.as_dict() | {"batch_size": 16, "ema_decay": 0.99}
    assert len(training.run.data_sha256) == 64
    assert {name: len(values) for name, values in training.run.curves.items()} == {
        "loss": 3,
        "learning_rate": 3,
        "validation_precision_at_5": 3,
    }
    best = max(training.run.curves["validation_precision_at_5"])
    assert training.run.validation["precision_at_5"] == pytest.approx(best, abs=1e-4)
    assert training.metrics["precision_at_5"] > 0.6
    assert sorted(path.name for path in trained.parent.iterdir()) == [
        "tiny.onnx",
        "tiny.parity.json",
        "tiny.safetensors",
    ]
    export("verify", trained, "--weights", trained.with_suffix(".safetensors"))


def test_its_accuracy_is_that_of_the_file(trained: Path, coloured: Path, capsys: Any) -> None:
    card = Embedder(trained).card
    export("compare", trained, "--data", coloured)
    (row,) = [line.split() for line in capsys.readouterr().out.splitlines() if line.split()[:1] == ["tiny"]][-1:]
    assert float(row[1]) == pytest.approx(card.training.metrics["precision_at_5"], abs=0.03)  # a shift by one pixel


def test_a_killed_training_continues_to_the_same_model(trained: Path, coloured: Path, tmp_path: Path) -> None:
    """The process is killed with SIGKILL before its seventh step, in the second of three epochs of four steps."""
    path = tmp_path / "tiny.onnx"
    code = (
        "import itertools, os, signal, sys\n"
        "from cbir.export.command import main\n"
        "from cbir.export.train import loop\n"
        "steps, step, loop.SECONDS_PER_CHECKPOINT = itertools.count(), loop._step, 0.0\n"
        "kill = lambda: os.kill(os.getpid(), signal.SIGKILL)\n"
        "loop._step = lambda *arguments: kill() if next(steps) == 6 else step(*arguments)\n"
        "sys.argv = ['cbir-export', *sys.argv[1:]]\n"
        "main()\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, *words(coloured, path)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not path.exists()
    assert (tmp_path / "tiny.training" / "checkpoint.pt").exists()
    export(*words(coloured, path))
    whole, continued = Embedder(trained), Embedder(path)
    assert continued.card.training == whole.card.training
    files = [image.read_bytes() for image in sorted(coloured.rglob("*.png"))[::6]]
    assert np.array_equal(continued.embed(files), whole.embed(files))
    assert not (tmp_path / "tiny.training").exists()


def test_an_interrupted_training_says_how_it_continues(
    coloured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from cbir.export.train import loop

    steps = itertools.count()

    def interrupt(*arguments: Any) -> float:
        if next(steps) == 2:
            raise KeyboardInterrupt
        return step(*arguments)

    step = loop._step
    monkeypatch.setattr(loop, "SECONDS_PER_CHECKPOINT", 0.0)
    monkeypatch.setattr(loop, "_step", interrupt)
    export(*words(coloured, tmp_path / "tiny.onnx"))  # Typer ends with the exit code of Ctrl-C
    assert not (tmp_path / "tiny.onnx").exists()
    assert "the same command continues" in caplog.text
    monkeypatch.setattr(loop, "_step", step)
    with pytest.raises(UsageError, match=r"another recipe: loss softmax \(now triplet\).*--restart"):
        export(*words(coloured, tmp_path / "tiny.onnx", "--loss", "triplet"))
    photos = Path(shutil.copytree(coloured, tmp_path / "photos"))
    (photos / "red" / "00.png").unlink()
    with pytest.raises(UsageError, match="The images have changed since this training began"):
        export(*words(photos, tmp_path / "tiny.onnx"))
    export(*words(photos, tmp_path / "tiny.onnx", "--restart", "--epochs", "1"))
    assert (tmp_path / "tiny.onnx").exists()


def test_given_weights_are_trained_further(trained: Path, coloured: Path, tmp_path: Path, capsys: Any) -> None:
    weights, path = trained.with_suffix(".safetensors"), tmp_path / "further.onnx"
    export(*words(coloured, path, "--weights", weights, "--blocks", "1", "--epochs", "1"))
    card = Embedder(path).card
    assert card.training is not None
    assert card.training.run is not None
    recipe = card.training.run.recipe
    assert (recipe["weights"], recipe["blocks"], recipe["head_learning_rate"]) == ("file:tiny.safetensors", 1, 0.02)
    assert not card.random_weights
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.split()[:1] in (["before"], ["after"])] == ["before", "after"]
    assert [kept.name for kept in kept_trainings(Settings().reports)] == ["further"]


@pytest.mark.parametrize(
    ("case", "code", "expected"),
    [
        ("one class", 2, "all 24 images are of one class, 'red'"),
        ("class of one image", 2, "cannot be split 70/15/15 with every class in every part: 'blue' has 1"),
        ("no labels", 2, "has no labels"),
        ("unreadable", 2, "None of the 72 images can be used. The first: blue/00.png: not an image"),
        ("two classes are unreadable", 2, "all 24 images are of one class, 'red'"),
        ("one image is readable", 2, "49 images of 3 classes cannot be split 70/15/15 with every class"),
        ("blocks from scratch", 2, "--blocks needs trained weights"),
        ("unknown backbone", 2, "Unknown backbone: 'resnet99'"),
        ("unknown loss", 2, "'hinge' is not one of"),
        ("no folder", 2, "its folder does not exist"),
        ("unknown device", 2, "--device warp"),
    ],
)
def test_bad_input_is_one_line(
    case: str, code: int, expected: str, coloured: Path, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    photos, output, more = Path(shutil.copytree(coloured, tmp_path / "photos")), tmp_path / "x.onnx", []
    if case == "one class":
        shutil.rmtree(photos / "blue")
        shutil.rmtree(photos / "green")
    elif case == "class of one image":
        for path in sorted((photos / "blue").iterdir())[1:]:
            path.unlink()
    elif case == "no labels":
        photos = photos / "red"
    elif case == "unreadable":
        for path in photos.rglob("*.png"):
            path.write_bytes(b"no image")
    elif case == "two classes are unreadable":
        for path in [*(photos / "blue").iterdir(), *(photos / "green").iterdir()]:
            path.write_bytes(b"no image")
    elif case == "one image is readable":
        for path in sorted((photos / "blue").iterdir())[1:]:
            path.write_bytes(b"no image")
    elif case == "no folder":
        output = tmp_path / "missing" / "x.onnx"
    else:
        more = {
            "blocks from scratch": ["--blocks", "1"],
            "unknown loss": ["--loss", "hinge"],
            "unknown device": ["--device", "warp"],
        }.get(case, [])
    arguments = words(photos, output, *more)
    if case == "unknown backbone":
        arguments[1] = "resnet99"
    found, line = refused(monkeypatch, capsys, arguments)
    assert found == code
    assert expected in line


def test_a_missing_label_column_is_one_line(tmp_path: Path, coloured: Path, monkeypatch: Any, capsys: Any) -> None:
    rows = "".join(f"{path},{path.parent.name}\n" for path in sorted(coloured.rglob("*.png")))
    (tmp_path / "list.csv").write_text("path,kind\n" + rows)
    code, line = refused(
        monkeypatch, capsys, words(tmp_path / "list.csv", tmp_path / "x.onnx", "--label", "subCategory")
    )
    assert code == 2
    assert "subCategory" in line


def test_weights_that_cannot_be_fetched_name_the_way_from_scratch(
    coloured: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    import torch

    def fail(*arguments: object, **options: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(CbirError, match="--weights random to train from scratch"):
        export("train", "squeezenet1_1", coloured, "-o", tmp_path / "x.onnx")
