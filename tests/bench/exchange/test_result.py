"""How the files for other benchmarks are shown."""

from pathlib import Path
from typing import Any

from cbir.bench.exchange.result import SUBJECT, present

from tests.support.exchange import QUERIES, K


def test_a_result_is_the_same_after_saving_and_loading(written: tuple[Path, dict[str, Any]]) -> None:
    assert SUBJECT.dump(SUBJECT.load(written[1])) == written[1]


def test_the_section_says_where_the_files_are_and_what_failed(written: tuple[Path, dict[str, Any]]) -> None:
    folder, content = written
    result = SUBJECT.load({**content, "failed": {"cbir-faiss-1 scan": "out of order"}})
    section = present(result)
    assert section.verdicts[0].startswith(f"{len(result.files)} files, ") and str(folder) in section.verdicts[0]
    assert f"{QUERIES} queries, {K} neighbours" in section.subject
    assert section.notes[0] == "cbir-faiss-1 scan: failed: out of order"
