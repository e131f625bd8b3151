"""`cbir-bench models` with the packaged model."""

import json
import shutil
from pathlib import Path

import pytest
from cbir.bench import command
from cbir.bench.models.measure import measure

from tests.support.running import Program, runner


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    return runner(monkeypatch, capsys, command.main, "cbir-bench")


def test_every_case_is_measured_in_every_round(model_file: Path) -> None:
    turns: list[int] = []
    (found,), noise = measure([model_file], ["cpu"], [1, 4], 2, turns.append)
    assert len(turns) == 3 * 2
    assert [case.batch for case in found.cases] == [1, 4]
    for case in found.cases:
        assert case.ms_an_image and case.images_per_second
        assert case.ms_an_image.lowest <= case.ms_an_image.median <= case.ms_an_image.highest
        assert case.images_per_second.highest == pytest.approx(1000 / case.ms_an_image.lowest)
    assert noise.kernel_ms.median > 0


def test_a_provider_that_is_not_there_says_so_and_is_no_zero(model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cbir.models import runtime

    monkeypatch.setattr(runtime, "_openvino_devices", lambda: [])
    (found,), _ = measure([model_file], ["cpu", "openvino"], [1], 1, lambda done: None)
    ours, other = found.cases
    assert ours.ms_an_image and not ours.failed
    assert other.ms_an_image is None and "openvino" in other.failed.lower()


def test_the_command_line(run: Program, model_file: Path, tmp_path: Path) -> None:
    code, out, _ = run(
        "models", "--model", str(model_file), "--batch", "1,2", "--rounds", "1", "--json", str(tmp_path / "m.json")
    )
    assert code == 0 and "Medians of the rounds" in " ".join(out.split())
    (one,) = json.loads((tmp_path / "m.json").read_text())["models"]
    assert (one["model"], one["dimension"], [case["batch"] for case in one["cases"]]) == (
        "efficientnet_lite0",
        1280,
        [1, 2],
    )


@pytest.mark.parametrize("wrong", [("--provider", "gpu"), ("--batch", "0"), ("--model", "nothing.onnx")])
def test_what_cannot_be_asked_is_one_line(run: Program, wrong: tuple[str, str]) -> None:
    code, _, err = run("models", *wrong)
    assert code == 2 and len(err.strip().splitlines()) == 1


def test_a_file_that_is_no_model_is_refused(run: Program, tmp_path: Path, model_file: Path) -> None:
    shutil.copyfile(model_file, tmp_path / "broken.onnx")
    with (tmp_path / "broken.onnx").open("r+b") as file:
        file.write(b"nothing")
    code, _, err = run("models", "--model", str(tmp_path / "broken.onnx"))
    assert code in (1, 2) and len(err.strip().splitlines()) == 1
