"""The command line of `cbir-bench models`, with the packaged model."""

import json
import shutil
from pathlib import Path

import pytest

from tests.support.running import Program


def test_the_command_line(run: Program, model_file: Path, tmp_path: Path) -> None:
    code, out, _ = run(
        "models", "--model", str(model_file), "--batch", "1,2", "--rounds", "1", "--json", str(tmp_path / "m.json")
    )
    assert code == 0 and "Medians of the rounds" in " ".join(out.split())
    speeds = json.loads((tmp_path / "m.json").read_text())["speeds"]
    assert [(case["model"], case["dimension"], case["batch"]) for case in speeds] == [
        ("efficientnet_lite0", 1280, 1),
        ("efficientnet_lite0", 1280, 2),
    ]


@pytest.mark.parametrize("wrong", [("--device", "gpu"), ("--batch", "0"), ("--model", "nothing.onnx")])
def test_misuse_is_one_line(run: Program, wrong: tuple[str, str]) -> None:
    code, _, err = run("models", *wrong)
    assert code == 2 and len(err.strip().splitlines()) == 1


def test_a_damaged_model_file_is_refused(run: Program, tmp_path: Path, model_file: Path) -> None:
    shutil.copyfile(model_file, tmp_path / "broken.onnx")
    with (tmp_path / "broken.onnx").open("r+b") as file:
        file.write(b"nothing")
    code, _, err = run("models", "--model", str(tmp_path / "broken.onnx"))
    assert code in (1, 2) and len(err.strip().splitlines()) == 1
