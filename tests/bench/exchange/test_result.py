"""How the files for other benchmarks are shown."""

from pathlib import Path
from typing import Any

from cbir.bench.exchange.result import SUBJECT, present

from tests.support.exchange import QUERIES, K


def test_a_result_is_the_same_after_saving_and_loading(written: tuple[Path, dict[str, Any]]) -> None:
    assert SUBJECT.dump(SUBJECT.load(written[1])) == written[1]


def test_the_section_says_where_the_files_are_and_how_fast_the_stores(written: tuple[Path, dict[str, Any]]) -> None:
    folder, content = written
    result = SUBJECT.load(content)
    section = present(result)
    assert section.verdicts[0].startswith(f"{len(result.files)} files, ") and str(folder) in section.verdicts[0]
    assert f"{QUERIES} queries, {K} neighbours" in section.subject
    (table,) = section.tables
    assert [row[0] for row in table.rows] == [
        f"cbir-faiss-1 graph_ef_{K}",
        "cbir-faiss-2 ivf_nprobe_1",
        "cbir-faiss-2 ivf_nprobe_2",
    ]
    assert [row[2] for row in table.rows] == [run.recall for run in result.runs]
    content["runs"][1] = {
        **content["runs"][1],
        "recall": 0.999,
        "failed": "",
        "searches_per_second": {"median": 1e9, "lowest": 1e9, "highest": 1e9},
    }
    assert "cbir-faiss-2 ivf_nprobe_1 is the fastest" in present(SUBJECT.load(content)).verdicts[1]


def test_a_failed_search_is_a_note(written: tuple[Path, dict[str, Any]]) -> None:
    content = written[1]
    failed = {"recall": None, "recall_ann_benchmarks": None, "searches_per_second": None, "failed": "out of order"}
    content["runs"][0] |= failed
    section = present(SUBJECT.load(content))
    assert section.tables[0].rows[0][1:] == [None, None, None]
    assert section.notes[0] == f"cbir-faiss-1 graph_ef_{K}: failed: out of order"
