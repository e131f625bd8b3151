"""A subject saves, loads and shows its results."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from cbir.bench.core.subject import deliver, envelope, write_json
from cbir.bench.core.timing import Noise
from cbir.bench.embedding.model_speed import ModelSpeed
from cbir.bench.models.result import SUBJECT, ModelsResult

from cbir.errors import CbirError
from cbir.evaluation.result_files import latest
from cbir.evaluation.sections import Section
from cbir.settings import Settings
from cbir.tables import Column, Range, Table

TIMES = Range(9.0, 8.0, 12.0), Range(111.0, 83.0, 125.0)
SPEED = ModelSpeed("lite0", "fp32", "cpu", 1, 1280, 224, 13.4, False, "", 3.3, 0.38, *TIMES)
HEADER = envelope("models", ["Read this."])
RESULT = ModelsResult(**HEADER, rounds=3, threads=2, speeds=[SPEED], noise=Noise(Range(1.0, 1.0, 1.0), 0.0))


def test_a_result_is_the_same_after_json() -> None:
    assert SUBJECT.load(json.loads(json.dumps(SUBJECT.dump(RESULT)))) == RESULT


@pytest.mark.parametrize("content", [{}, [], {"benchmark": "models"}, {**SUBJECT.dump(RESULT), "rounds": "many"}])
def test_what_is_no_result_is_one_clear_line(content: object) -> None:
    with pytest.raises(CbirError, match=r"^Cannot read a result of `cbir-bench models`: [^\n]* Measure it again\.$"):
        SUBJECT.load(content)


def test_a_result_is_kept_written_and_printed_with_its_verdict_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deliver(SUBJECT, RESULT, str(tmp_path / "result.json"))
    assert SUBJECT.load(json.loads((tmp_path / "result.json").read_text())) == RESULT
    (report,), problems = latest(Settings().reports)
    assert not problems and SUBJECT.load(report.result) == RESULT
    assert report.section is not None
    assert json.dumps(asdict(report.section)) == json.dumps(asdict(SUBJECT.present(RESULT)))
    assert capsys.readouterr().out.splitlines()[0] == SUBJECT.present(RESULT).verdicts[0]


def test_json_on_standard_output_stands_alone(capsys: pytest.CaptureFixture[str]) -> None:
    deliver(SUBJECT, RESULT, "-")
    assert SUBJECT.load(json.loads(capsys.readouterr().out)) == RESULT


def test_a_result_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(CbirError, match="folder"):
        deliver(SUBJECT, RESULT, str(tmp_path / "folder"))


def test_a_target_that_fails_in_the_end_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(CbirError, match="Cannot write .*parity.json: No space left on device"):
        write_json(str(tmp_path / "parity.json"), {})
    assert list(tmp_path.iterdir()) == [], "nothing is left beside it"


def test_verdicts_come_first_and_nothing_is_cut_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    long = "words " * 60
    table = Table("Table", [Column("store"), Column("search", "ms", ".2f")], [[long.strip(), 1.5]])
    section = Section("title", "subject", ["FAISS is faster."], [table], ["A note."])
    deliver(replace(SUBJECT, present=lambda result: section), RESULT, None)
    lines = [line.strip() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[:2] == ["FAISS is faster.", "subject"]
    assert lines[-1] == "A note."
    assert any(long.strip() in line and line.endswith("1.50") for line in lines)
