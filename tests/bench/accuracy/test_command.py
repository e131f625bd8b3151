"""The command line of `cbir-bench accuracy`, on real images."""

import json
import shutil
from pathlib import Path

import pytest
from cbir.bench import command

from tests.support.running import Program, runner


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    return runner(monkeypatch, capsys, command.main, "cbir-bench", "accuracy")


def test_a_source_is_split_and_measured(run: Program, photo_folder: Path, model_file: Path, tmp_path: Path) -> None:
    target = tmp_path / "accuracy.json"
    code, out, err = run(photo_folder, "--model", model_file, "--resamples", 200, "--json", target)
    assert code == 0, err
    result = json.loads(target.read_text())
    (model,) = result["models"]
    assert {"precision_at_5", "hit_rate_at_1", "mrr_at_5", "map_at_5", "recall_at_5", "ndcg_at_5"} <= set(
        model["metrics"]
    )
    assert model["metrics"]["hit_rate_at_5"] > 0.5, "the packaged model finds something"
    assert result["settings"]["protocol"] == "split"
    (speed,) = result["speeds"]
    assert speed["batch"] == 8 and speed["ms_an_image"]["value"] > 0 and speed["gigamacs"] > 0
    assert "What accuracy costs" in out
    lines = out.splitlines()
    assert lines[0].startswith(f"{model['name']} ({model['precision']}) finds images of the query's class: P@5 0.")
    assert "most often taken for" in " ".join(out.split()) and "small by design" in " ".join(out.split())
    assert "Confusion matrix" not in out, "it is too wide for a console"


def test_leaving_one_out_searches_with_every_image(
    run: Program, photo_folder: Path, model_file: Path, tmp_path: Path
) -> None:
    target = tmp_path / "accuracy.json"
    arguments = ("--model", model_file, "--protocol", "leave-one-out", "-k", 3, "--resamples", 200, "--json", target)
    assert run(photo_folder, *arguments)[0] == 0
    result = json.loads(target.read_text())
    assert result["images"]["queries"] == result["images"]["indexed"] == result["images"]["images"] > 200
    assert "precision_at_3" in result["models"][0]["metrics"]


def test_two_sources(run: Program, photo_folder: Path, model_file: Path, tmp_path: Path) -> None:
    for folder in [path for path in sorted(photo_folder.iterdir()) if path.is_dir()][:2]:
        for number, path in enumerate(sorted(folder.iterdir())[:9]):
            target = tmp_path / ("test" if number % 3 == 0 else "train") / folder.name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    sources = ("--index-source", tmp_path / "train", "--query-source", tmp_path / "test")
    code, out, err = run(*sources, "--model", model_file, "-k", 2, "--resamples", 100, "--json", tmp_path / "a.json")
    assert code == 0, err
    result = json.loads((tmp_path / "a.json").read_text())
    assert (result["images"]["indexed"], result["images"]["queries"]) == (12, 6)
    assert result["settings"]["protocol"] == "two-sources"
    assert "12 indexed, 6 queries" in " ".join(out.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Name either a single SOURCE, or --index-source and --query-source."),
        (("--index-source", "train"), "Add --query-source"),
        (("--query-source", "test"), "Add --index-source"),
        (("photos", "--query-source", "test"), "Add --index-source"),
        (("photos", "--index-source", "train", "--query-source", "test"), "Name either a single SOURCE"),
        (
            ("--index-source", "train", "--query-source", "test", "--protocol", "split"),
            "--protocol divides a single SOURCE",
        ),
        (("--index-source", "train", "--query-source", "test"), "train"),
    ],
)
def test_sources_that_do_not_go_together(run: Program, arguments: tuple[str, ...], message: str) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "") and message in err and len(err.strip().splitlines()) == 1, err


def test_misuse_is_one_line(run: Program, photo_folder: Path, model_file: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    shutil.copy(next(path for path in sorted(photo_folder.rglob("*.png"))), flat / "one.png")
    other = tmp_path / "other.onnx"
    other.write_bytes(b"no model")
    for arguments in (
        (flat,),
        (photo_folder, "--model", other),
        (photo_folder, "--model", model_file, "--model", model_file.parent / "." / model_file.name, "--top-classes", 1),
        (photo_folder, "--protocol", "guess"),
    ):
        code, _, err = run(*arguments)
        assert code == 2 and len(err.strip().splitlines()) == 1, err
