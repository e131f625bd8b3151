"""The working folder and what it keeps."""

import errno
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the extra `export` is not installed")

from cbir.export.train.checkpoint import Position, folder_for, load_checkpoint, save_checkpoint, working_folder

from cbir.errors import CbirError, DiskFullError, UsageError
from cbir.evaluation.retrieval import Accuracy
from tests.support.trainings import RECIPE

pytestmark = pytest.mark.export

CPU = torch.device("cpu")


def test_a_checkpoint_is_read_back(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path, CPU) is None
    position = Position(7, [0.5, 0.25], [1.0], [1e-3], [0.8], Accuracy(9, 0.8, 0.9, 1.0, 0.9, 0.95), 1)
    tensors = {"network": {"weight": torch.randn(3, 4)}, "optimizer": {"state": {0: {"step": torch.tensor(7.0)}}}}
    save_checkpoint(tmp_path, tensors, position)
    found = load_checkpoint(tmp_path, CPU)
    assert found is not None
    assert found[1] == position
    assert torch.equal(found[0]["network"]["weight"], tensors["network"]["weight"])
    assert found[0]["optimizer"] == tensors["optimizer"]
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


@pytest.mark.parametrize("damage", ["cut", "foreign", "code"])
def test_a_damaged_checkpoint_is_one_line(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(tmp_path, {"network": {"weight": torch.zeros(9)}}, Position())
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:100])
    else:
        torch.save({"position": Path("/")} if damage == "code" else {"position": {"step": "x"}}, path)
    with pytest.raises(CbirError, match=r"checkpoint.pt is damaged .*--restart"):
        load_checkpoint(tmp_path, CPU)


def test_the_folder_stays_until_the_training_succeeds(tmp_path: Path) -> None:
    output = tmp_path / "model.onnx"
    with pytest.raises(KeyError), working_folder(output, RECIPE, restart=False) as folder:
        (folder / "checkpoint.pt").write_bytes(b"x")
        raise KeyError
    assert folder == folder_for(output) == tmp_path / "model.training"
    with working_folder(output, RECIPE, restart=False) as folder:
        assert (folder / "checkpoint.pt").exists()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_the_user_is_left_alone(tmp_path: Path) -> None:
    mine = folder_for(tmp_path / "model.onnx") / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    for restart in (False, True):
        expected = pytest.raises(UsageError, match=r"model.training is not a folder of a training. Move it")
        with expected, working_folder(tmp_path / "model.onnx", RECIPE, restart):
            pass
    assert mine.read_text() == "mine"


def test_another_recipe_is_refused_until_the_user_starts_anew(tmp_path: Path) -> None:
    output, other = tmp_path / "model.onnx", replace(RECIPE, epochs=99, bf16=True)
    with pytest.raises(KeyError), working_folder(output, RECIPE, restart=False) as folder:
        (folder / "checkpoint.pt").write_bytes(b"x")
        raise KeyError
    expected = r"another recipe: epochs 3 \(now 99\), bf16 False \(now True\)\. .* or start anew with --restart"
    with pytest.raises(UsageError, match=expected), working_folder(output, other, restart=False):
        pass
    with working_folder(output, other, restart=True) as folder:
        assert not (folder / "checkpoint.pt").exists()


def test_another_recipe_is_fine_before_the_first_step(tmp_path: Path) -> None:
    """As after a first try with too large a --size, which only decoded images."""
    output = tmp_path / "model.onnx"
    with pytest.raises(KeyError), working_folder(output, RECIPE, restart=False) as folder:
        (folder / "images.json").write_bytes(b"x")
        raise KeyError
    with pytest.raises(KeyError), working_folder(output, replace(RECIPE, size=64), restart=False) as folder:
        assert sorted(path.name for path in folder.iterdir()) == ["lock", "recipe.json"]
        raise KeyError
    assert '"size": 64' in (folder / "recipe.json").read_text()


def test_a_full_disk_names_the_folder(tmp_path: Path) -> None:
    expected = pytest.raises(DiskFullError, match=r"the disk is full: .*model\.training; everything stored so far")
    with expected, working_folder(tmp_path / "model.onnx", RECIPE, restart=False):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_two_trainings_do_not_share_a_folder(tmp_path: Path) -> None:
    output = tmp_path / "model.onnx"
    with working_folder(output, RECIPE, restart=False):
        expected = pytest.raises(CbirError, match=r"Another process trains .*model.onnx")
        with expected, working_folder(output, RECIPE, restart=True):
            pass


def test_a_recipe_of_another_version_is_refused(tmp_path: Path) -> None:
    folder_for(tmp_path / "model.onnx").mkdir()
    (tmp_path / "model.training" / "lock").touch()
    (tmp_path / "model.training" / "recipe.json").write_text('{"epochs": 3}')
    expected = pytest.raises(UsageError, match=r"no recipe of this version.*--restart")
    with expected, working_folder(tmp_path / "model.onnx", RECIPE, restart=False):
        pass
