"""The report of an ingest as people read it: what was skipped, and what to do next."""

import pytest
from cbir.ingest.report_view import show

from cbir.pipeline.report import IngestReport


def printed(capsys: pytest.CaptureFixture[str], report: IngestReport, *args: object) -> list[str]:
    """Return the lines of a report, without the spaces that align its table."""
    report.peak_megabytes = {"ingest": 1, "build": 1}
    show(report, ["a licence"], *args)  # type: ignore[arg-type]
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def report_of(**counts: object) -> IngestReport:
    return IngestReport("photos-m", ["edge:./my index", "faiss:./my index/faiss"], **counts)  # type: ignore[arg-type]


def test_other_files_and_reasons_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    failures = [{"key": f"{number}.jpg", "reason": "empty\nfile"} for number in range(25)]
    report = report_of(skipped=25, other_files=12, failures=failures, reasons={"empty\nfile": 25})
    lines = printed(capsys, report)
    assert "other files 12 with other suffixes skipped" in lines
    assert "skipped 25: empty\N{REPLACEMENT CHARACTER}file" in lines
    assert "19.jpg: empty\N{REPLACEMENT CHARACTER}file" in lines
    assert not any(line.startswith("20.jpg") for line in lines)
    assert "and 5 more. --json lists all." in lines
    assert "a licence" in lines


def test_what_was_not_embedded_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, report_of(stored=1200, changed=3, reused=1100))
    assert "stored 1,200, 3 of them changed, 1,100 of them with the vector of a stored image" in lines
    assert "stored 5" in printed(capsys, report_of(stored=5))


def test_renames_are_counted_and_listed(capsys: pytest.CaptureFixture[str]) -> None:
    renames = [{"key": f"new/{number}.jpg", "old_key": f"{number}.jpg"} for number in range(25)]
    lines = printed(capsys, report_of(stored=25, renamed=25, renames=renames))
    assert "renamed 25" in lines
    assert "renamed 0.jpg to new/0.jpg" in lines
    assert "and 5 more. --json lists all." in lines


def test_a_line_is_never_as_long_as_a_hostile_key(capsys: pytest.CaptureFixture[str]) -> None:
    key = "x" * 2_600_000
    report = report_of(skipped=1, failures=[{"key": key, "reason": "empty file"}], removed_keys=[key])
    assert max(map(len, printed(capsys, report))) < 1100


def test_the_next_step_can_be_pasted(capsys: pytest.CaptureFixture[str]) -> None:
    report = report_of(stored=1, example_key="it's.png")
    assert printed(capsys, report)[-3:] == ["Next:", """cbir-search --like 'it'"'"'s.png'""", "cbir-ui"]
    assert printed(capsys, report, report.stores, "photos-m")[-2:] == [
        """cbir-search --like 'it'"'"'s.png' --store 'edge:./my index' --collection photos-m""",
        "cbir-ui --store 'edge:./my index' --store 'faiss:./my index/faiss'",
    ]


@pytest.mark.parametrize(
    ("counts", "hint"),
    [
        ({"remembered": 2}, "add --retry-failed"),
        ({"dry_run": True, "example_key": "a"}, "dry run nothing was changed; the counts are those of a real run"),
        ({"missing": 3, "removed": 1}, "no longer in the source: 2 images. `cbir-ingest sync` removes them."),
        ({"interrupted": True, "resumed": 2, "stored": 3}, "5 embedded images are kept. Run the same command again"),
    ],
)
def test_the_user_is_told_what_to_do(capsys: pytest.CaptureFixture[str], counts: dict[str, object], hint: str) -> None:
    lines = printed(capsys, report_of(**counts))
    assert any(hint in line for line in lines)
    assert "Next:" not in lines, "nothing can be searched"
    assert not any(hint in line for line in printed(capsys, report_of()))


def test_an_interrupted_dry_run_keeps_no_images(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, report_of(interrupted=True, dry_run=True, stored=3))
    assert not any("are kept" in line for line in lines)
