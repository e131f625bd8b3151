"""`cbir-bench stores` on real indexes, and on stores that are made wrong on purpose."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cbir.bench.core.options import MOST_THREADS, numbers
from cbir.bench.core.synthetic import clustered
from cbir.bench.core.workload import Workload, open_workload, workload_of
from cbir.bench.latency import footprint, measure, search_during_ingest
from cbir.bench.latency.measure import choose_classes

from cbir.errors import CbirError, UsageError
from cbir.filters.conditions import Filter, Match
from cbir.records import Hit, Vector
from cbir.settings import Settings
from cbir.stores.base import DEFAULT_PARAMS, SearchParams
from cbir.stores.embedded.reader import EmbeddedStore
from cbir.stores.handle import StoreHandle
from cbir.stores.registry import connect
from tests.support.bench_stores import VECTORS, build_kinds
from tests.support.building import both, store_options
from tests.support.running import Program


def published(index: Path) -> dict[Path, bytes]:
    files = (path for path in index.rglob("*") if path.is_file() and "views" not in path.parts)
    return {path: hashlib.sha256(path.read_bytes()).digest() for path in files}


class Wrong:
    """A real store whose searches are not what was asked for."""

    def __init__(self, store: EmbeddedStore, search: Callable[..., list[list[Hit]]]):
        self._store, self._search = store, search

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def search(
        self, vectors: Vector, k: int, *, params: SearchParams = DEFAULT_PARAMS, filter: Filter = ()
    ) -> list[list[Hit]]:
        return self._search(self._store, vectors, k, filter)


def measured(workload: Workload) -> list[measure.Latency]:
    return measure.measure(workload, choose_classes(workload, "kind"), [1, 2], 2, lambda done: None)


def test_the_classes_are_those_nearest_to_the_shares(store: EmbeddedStore) -> None:
    workload = workload_of([store], 5, 40, 1)
    rare, common = choose_classes(workload, "kind")
    assert (rare.value, rare.points, rare.share) == ("rare", 15, 0.025)
    assert (common.value, common.points) == ("common", 245)
    assert rare.workload.filter == (Match("kind", ("rare",)),)
    assert [one.value for one in choose_classes(workload_of([store], 20, 40, 1), "kind")] == ["common"], (
        "15 are too few"
    )
    assert choose_classes(workload, "nothing") == []


def test_the_exact_filtered_answer(store: EmbeddedStore) -> None:
    workload = workload_of([store], 5, 40, 1)
    for one in choose_classes(workload, "kind"):
        ids = [point.id for point in store.scroll(one.workload.filter)]
        assert set(one.workload.truth.position) == set(ids)
        for number, query in enumerate(workload.queries):
            others = [id_ for id_ in ids if id_ != query]
            scores = np.sort([float(store.vectors([id_])[0] @ workload.vectors[number]) for id_ in others])[::-1]  # type: ignore[operator]
            assert one.workload.truth.threshold[number] == pytest.approx(scores[4], abs=1e-6)


def test_real_stores(made: Path) -> None:
    with open_workload(both(made), None, 5, 40, 1, Settings()) as workload:
        found = measured(workload)
    for one in found:
        assert [load.threads for load in one.loads] == [1, 2]
        for load in one.loads:
            assert load.searches_per_second > 0
            assert load.search_ms.p25 <= load.search_ms.median <= load.search_ms.p95 <= load.search_ms.p99
        assert one.ann_recall_at_k.mean is not None
        assert one.ann_recall_at_k.mean > 0.95
        assert one.raw_ms is not None
        assert one.ratio == one.search_ms.median / one.raw_ms.median
        assert [part.value for part in one.filtered] == ["rare", "common"]
        for part in one.filtered:
            assert part.ann_recall_at_k.mean is not None
            assert part.ann_recall_at_k.mean > 0.95
            assert part.ratio == part.search_ms.median / one.search_ms.median


def test_a_filter_that_is_ignored_is_an_error(store: EmbeddedStore) -> None:
    wrong = Wrong(store, lambda store, vectors, k, where: store.search(vectors, k))
    with pytest.raises(CbirError, match="returned a point twice, or one that was filtered out"):
        measured(workload_of([wrong], 5, 40, 1))  # type: ignore[list-item]


def test_a_filtered_hit_that_is_lost_is_seen(store: EmbeddedStore) -> None:
    def lossy(store: EmbeddedStore, vectors: Vector, k: int, where: Filter) -> list[list[Hit]]:
        found = store.search(vectors, k + 1, filter=where, params=SearchParams(exact=True))
        return [hits[2:] if where else hits[:k] for hits in found]

    (found,) = measured(workload_of([Wrong(store, lossy)], 5, 40, 1))  # type: ignore[list-item]
    assert found.ann_recall_at_k.mean == 1
    for part in found.filtered:
        assert part.ann_recall_at_k.mean is not None
        assert part.ann_recall_at_k.mean < 0.9
    assert (found.raw_ms, found.ratio) == (None, None), "nothing is made up for a store that is not embedded"


def test_every_client_searches_its_share(store: EmbeddedStore) -> None:
    asked: list[bytes] = []

    def noted(store: EmbeddedStore, vectors: Vector, k: int, where: Filter) -> list[list[Hit]]:
        asked.extend(vector.tobytes() for vector in vectors)
        return store.search(vectors, k, filter=where)

    workload = workload_of([Wrong(store, noted)], 5, 40, 1)  # type: ignore[list-item]
    measure.measure(workload, [], [1, 3], 1, lambda done: None)
    assert len(asked) == 4 * 40, "the recall, alone, and two loads"
    assert {asked.count(vector.tobytes()) for vector in workload.vectors} == {4}


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """An Edge index that maps its vectors, and a FAISS one that reads them: 900 x 8,000 float32, 28.8 MB.

    So long that Edge builds a graph for few. Two in five points, all in one region, are of one class.
    """
    root = tmp_path_factory.mktemp("large") / "index"
    vectors = clustered(900, 8000, 0)
    region = vectors @ clustered(1, 8000, 1)[0]
    common = region <= np.sort(region)[359]
    urls = [f"edge:{root}?on_disk=1&ef_construct=32", f"faiss:{root}/flat?index=Flat"]
    build_kinds(urls, vectors, ["common" if one else "other" for one in common])
    return urls


def test_a_filtered_graph_finds_what_lies_apart(large: list[str]) -> None:
    """With so small an ef, a walk among the points of the class alone ends early: 0.9 of them."""
    with open_workload([f"{large[0]}&ef=16"], None, 10, 150, 1, Settings()) as workload:
        (common,) = choose_classes(workload, "kind")
        found = measure.measure(workload, [common], [1], 1, lambda done: None)[0].filtered[0]
    assert (found.value, found.points) == ("common", 360)
    assert found.ann_recall_at_k.mean is not None
    assert found.ann_recall_at_k.mean > 0.97


def test_what_memory_an_index_takes(large: list[str]) -> None:
    with open_workload(large, None, 5, 20, 1, Settings()) as workload:
        edge, flat = (footprint.measure(info, workload.queries, 5) for info in workload.infos)
    assert edge is not None
    assert flat is not None
    assert (edge.share, flat.share) == (pytest.approx(1, abs=0.1), pytest.approx(1, abs=0.1))
    assert 28 < edge.parts["vectors"] < 30
    assert set(edge.parts) == {"vectors", "graph", "rest"}
    assert edge.disk_megabytes == pytest.approx(sum(edge.parts.values()))
    assert edge.walked_megabytes == pytest.approx(edge.parts["vectors"] + edge.parts["graph"])
    assert 28 < flat.parts["all"] < 30
    if Path("/proc/self/smaps_rollup").exists():
        assert edge.memory is not None
        assert flat.memory is not None
        assert edge.memory.opened.own < 10 < 28 < flat.memory.opened.own < 35
        assert edge.memory.opened.mapped <= edge.memory.searched.mapped


def test_tables_and_json(made: Path, tmp_path: Path, run: Program) -> None:
    urls = store_options(both(made))
    asked = ["stores", *urls, "--queries", 20, "-k", 5, "--rounds", 1, "--threads", "1, 2", "--field"]
    code, out, err = run(*asked, "kind", "--json", tmp_path / "stores.json")
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 100
    for words in ("searches/s", "protocol / raw", "kind=rare", "kind=common", "Size in megabytes"):
        assert words in out
    result = json.loads((tmp_path / "stores.json").read_text())
    assert (result["benchmark"], result["settings"]["threads"], result["settings"]["rounds"]) == ("stores", [1, 2], 1)
    assert [one["store"] for one in result["latencies"]] == [one["store"] for one in result["footprints"]] == both(made)
    assert [one["points"] for one in result["latencies"][0]["filtered"]] == [15, 245]
    assert result["beside"] == []
    code, out, _ = run(*asked, "nothing", "--json", "-")
    result = json.loads(out)
    assert (code, result["latencies"][0]["filtered"]) == (0, [])
    assert any("filters were not measured" in note for note in result["notes"])


@pytest.mark.parametrize("text", ["", "0", "1,", "8;1", "-1", "1000"])
def test_threads_that_are_no_list(text: str) -> None:
    with pytest.raises(UsageError, match="--threads"):
        numbers("--threads", text, MOST_THREADS)
    assert numbers("--threads", "8, 1,8", MOST_THREADS) == [8, 1]


@pytest.mark.bench
def test_beside_an_ingest(
    index: Path, photo_folder: Path, tmp_path: Path, run: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index and its folder stay as they are; the copy takes up what the ingest adds, without an error."""
    monkeypatch.setattr(search_during_ingest, "IDLE_SECONDS", 0.5)
    before = published(index)
    more = tmp_path / "more"
    for path in sorted(photo_folder.rglob("*.png"))[:3]:
        target = more / path.parent.name / f"new {path.name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    urls = store_options(both(index))
    asked = ["stores", *urls, "--queries", 10, "--rounds", 1, "--threads", "4", "--json", tmp_path / "stores.json"]
    code, out, err = run(*asked, "--beside", f"'{more}' --batch-size 2")
    assert (code, err) == (0, "")
    assert "4 threads beside an ingest of 3 pictures" in out
    assert published(index) == before
    (found,) = json.loads((tmp_path / "stores.json").read_text())["beside"]
    assert (found["threads"], found["stored"]) == (4, 3)
    for one in found["stores"]:
        assert one["errors"] == []
        assert len(one["generations"]) == 2
        assert one["taken_up_ms"] > 0
        assert [phase["name"] for phase in one["phases"]] == list(search_during_ingest.PHASES)
        assert all(phase["searches"] > 0 for phase in one["phases"])
    code, _, err = run(*asked, "--beside", photo_folder)
    assert (code, "published nothing" in err) == (1, True)


def test_a_search_that_fails_meanwhile_is_counted(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_during_ingest, "_TURN_SECONDS", 0.01)
    stores = [StoreHandle(connect(url, Settings()), "made") for url in both(made)]
    wrong = Wrong(stores[1].get(), lambda store, vectors, k, where: [hits[1:] for hits in store.search(vectors, k)])  # type: ignore[arg-type]
    stores[1]._store = wrong  # type: ignore[assignment]
    clients = search_during_ingest._Clients(stores, VECTORS[:20], 5)
    with clients.running(2):
        while not all(clients.found):
            pass
    good, bad = clients.found
    assert {one.error for one in good} == {""}
    assert {one.error for one in bad} == {"4 hits, not 5"}
