"""Searches while an ingest runs."""

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import pytest
from cbir.bench.core.workload import open_workload
from cbir.bench.latency import search_during_ingest

from cbir.errors import UsageError
from cbir.settings import Settings
from cbir.stores.handle import StoreHandle
from cbir.stores.registry import connect
from tests.support.bench_stores import VECTORS, altered
from tests.support.building import both, store_options
from tests.support.running import Program


def published(index: Path) -> dict[Path, bytes]:
    files = (path for path in index.rglob("*") if path.is_file() and "views" not in path.parts)
    return {path: hashlib.sha256(path.read_bytes()).digest() for path in files}


@pytest.mark.bench
@pytest.mark.parametrize("option", ["--search-during-ingest", "--beside"])
def test_searches_during_an_ingest(
    index: Path, photo_folder: Path, tmp_path: Path, run: Program, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    """The index and its folder stay as they are; the copy takes up what the ingest adds, without an error."""
    monkeypatch.setattr(search_during_ingest, "IDLE_SECONDS", 0.5)
    before = published(index)
    more = tmp_path / "more"
    for path in sorted(photo_folder.rglob("*.png"))[:3]:
        target = more / path.parent.name / f"new {path.name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    words = ["latency", *store_options(both(index)), "--queries", 10, "--rounds", 1, "--threads", 4, "--ef", 64]
    words += ["--seconds", 0, "--json", tmp_path / "out.json", option]
    code, out, err = run(*words, f"'{more}' --batch-size 2")
    assert (code, err) == (0, "")
    assert "During an ingest" in out
    assert "during an ingest of 3 images the p95 is" in out
    assert published(index) == before
    found = json.loads((tmp_path / "out.json").read_text())["ingest"]
    assert found["stored"] == 3
    for store in found["stores"]:
        assert store["errors"] == []
        assert store["taken_up_ms"] > 0, "the new generation was searched"
        assert [phase["name"] for phase in store["phases"]] == ["before", "during the ingest", "after"]
        assert all(phase["seconds"] > 0 for phase in store["phases"])
        assert sum(phase["searches"] for phase in store["phases"]) > 0
    code, _, err = run(*words, photo_folder)
    assert (code, "published nothing" in err) == (1, True)


def test_a_server_alone_cannot_be_copied(made: Path) -> None:
    with open_workload(both(made)[:1], "made", 5, 8, 1, Settings()) as workload:
        info: Any = workload.infos[0]
        object.__setattr__(info, "url", "http://localhost:6333")
        with pytest.raises(UsageError, match="a copy of one index folder"):
            search_during_ingest.measure(workload, "more", 1, Settings())


def test_a_search_that_fails_meanwhile_is_counted(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_during_ingest, "_TURN_SECONDS", 0.01)
    stores = [StoreHandle(connect(url, Settings()), "made") for url in both(made)]
    stores[1]._store = altered(stores[1].get(), lambda hits: hits[1:])
    with search_during_ingest.searching(stores, VECTORS[:20], 5, 2) as found:
        while not all(found):
            time.sleep(0.001)
    good, bad = found
    assert {search.error for search in good} == {""}
    assert {search.error for search in bad} == {"4 hits, not 5"}


def test_phases_are_compared_with_the_one_before() -> None:
    searches = [
        search_during_ingest._Search(began, milliseconds, generation, error)
        for began, milliseconds, generation, error in (
            (1.0, 2.0, "1", ""),
            (2.0, 3.0, "1", ""),
            (2.5, 9.0, "1", "it broke"),
            (4.0, 5.0, "1", ""),
            (5.0, 4.0, "2", ""),
        )
    ]
    found = search_during_ingest.by_phase("edge:a", searches, [1.0, 2.0, 4.0, 6.0])
    assert [(phase.name, phase.seconds, phase.searches, phase.ratio) for phase in found.phases] == [
        ("before", 1.0, 1, 1.0),
        ("during the ingest", 2.0, 1, 1.5),
        ("after", 2.0, 2, pytest.approx(2.475)),
    ]
    assert found.errors == ["it broke"]
    assert found.taken_up_ms == pytest.approx(1004)
    nothing = search_during_ingest.by_phase("edge:a", [], [1.0, 2.0, 4.0, 6.0])
    assert ([phase.ratio for phase in nothing.phases], nothing.taken_up_ms) == ([None] * 3, None)
