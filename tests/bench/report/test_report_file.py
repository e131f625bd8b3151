"""`report.json`, and files that are none."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cbir.bench.registry import SUBJECTS

from tests.support.running import Program

pytestmark = pytest.mark.bench


def test_the_report_loads_what_each_subject_saved(results: Path) -> None:
    for path in results.glob("*.json"):
        content = json.loads(path.read_text())["result"]
        subject = SUBJECTS[path.stem]
        assert subject.dump(subject.load(content)) == content


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "cannot be read: No such file or directory"),
        (lambda path: path.write_text("{"), "is not JSON"),
        (lambda path: path.write_text("[" * 100_000), "is not JSON"),
        (lambda path: path.write_text('{"figures": 1}'), "is not a report.json of `cbir-bench report`"),
        (lambda path: path.write_text('{"benchmark": "latency", "curves": [{}]}'), "Another version of cbir"),
    ],
)
def test_what_is_no_report_is_one_line(run: Program, tmp_path: Path, make: Callable[[Path], object], said: str) -> None:
    path = tmp_path / "given.json"
    make(path)
    code, _, err = run("compare", path, path)
    assert code in (1, 2) and said in err and len(err.strip().splitlines()) == 1
