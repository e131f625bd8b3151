"""`cbir-bench` on real indexes, and on stores that are made wrong on purpose."""

import io
import json
import os
import stat
from base64 import b64decode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cbir.bench import command
from cbir.bench.core import console
from cbir.bench.core.ground_truth import answer
from cbir.bench.core.ranking import recall
from cbir.bench.core.results import write_json
from cbir.bench.core.stores import labels
from cbir.bench.core.workload import EXACT, ORDINARY, Workload, ask, how, notes, open_workload, workload_of
from cbir.bench.parity import measure
from cbir.bench.parity.view import parity_json, worst_pictures
from PIL import Image

from cbir.errors import CbirError, UsageError
from cbir.models.card import ModelRef
from cbir.records import Hit, Vector, point_id
from cbir.settings import Settings
from cbir.stores.base import StoreInfo
from cbir.stores.embedded.reader import EmbeddedStore
from cbir.stores.registry import open_store
from tests.support.building import both, build, store_options, unit_vectors
from tests.support.running import Program, runner

COUNT = 600
VECTORS = unit_vectors(COUNT)
VECTORS[7] = VECTORS[8] = VECTORS[9]


class Altered:
    """A real store whose answers are altered on the way out."""

    def __init__(self, store: EmbeddedStore, alter: Callable[[list[Hit]], list[Hit]]):
        self._store, self._alter = store, alter

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def search(self, vectors: Vector, k: int, **how: Any) -> list[list[Hit]]:
        return [self._alter(hits) for hits in self._store.search(vectors, k, **how)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index folder with the usual stores and one of lists."""
    root = tmp_path_factory.mktemp("made") / "index"
    build([*both(root), f"faiss:{root}/lists?index=IVF32,Flat"], VECTORS)
    return root


@pytest.fixture
def store(made: Path) -> Iterator[EmbeddedStore]:
    opened = open_store(both(made)[0], "made", Settings())
    yield opened
    opened.close()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    """Program the command line in this process and return exit code, output and errors."""
    return runner(monkeypatch, capsys, command.main, "cbir-bench")


def measured(workload: Workload) -> measure.Parity:
    return measure.measure(workload, lambda done: None)


def altered(store: EmbeddedStore, alter: Callable[[list[Hit]], list[Hit]], k: int = 5) -> measure.Parity:
    """The result for a store beside its altered self."""
    return measured(workload_of([store, Altered(store, alter)], k, 40, 1))


def test_real_stores_agree(index: Path) -> None:
    with open_workload(both(index), None, 10, 50, 42, Settings()) as workload:
        found = measured(workload)
    assert [(one.store, one.mode) for one in found.oracle] == [
        (url, mode) for url in both(index) for mode in (ORDINARY, EXACT)
    ]
    for one in found.oracle:
        assert one.score_difference.worst is not None
        assert one.score_difference.worst < 1e-5
        if one.mode == EXACT:
            assert (one.ann_recall_at_k.mean, one.ann_recall_at_k.worst, one.queries_below_one) == (1, 1, 0)
            assert one.searched == "scan"
    exact = found.pairs[1]
    assert (exact.mode, exact.identical + exact.identical_up_to_ties, exact.different) == (EXACT, 50, 0)
    assert (exact.overlap_at_k.worst, exact.same_share, exact.differences) == (1, 1, [])
    assert exact.kendall_tau_b.mean == pytest.approx(1)


def test_queries_do_not_depend_on_the_order_of_stores(made: Path) -> None:
    with open_workload(both(made), "made", 5, 30, 3, Settings()) as workload:
        first = list(workload.queries)
    with open_workload(both(made)[::-1], "made", 5, 30, 3, Settings()) as workload:
        assert list(workload.queries) == first
    with open_workload(both(made), "made", 5, 30, 4, Settings()) as workload:
        assert list(workload.queries) != first
    with open_workload(both(made), "made", 5, 10 * COUNT, 4, Settings()) as workload:
        assert len(set(workload.queries)) == len(workload.queries) == COUNT


def test_a_query_is_no_hit_of_itself(store: EmbeddedStore) -> None:
    workload = workload_of([store], 1, COUNT, 0)
    ordinary, exact = measured(workload).oracle
    assert exact.ann_recall_at_k.worst == 1, "its own score would not pass for the neighbour's"
    assert exact.score_difference.worst is not None
    assert exact.score_difference.worst < 1e-5
    assert exact.self_missing == ordinary.self_missing == 1, "one of three copies is not among two hits"
    tied = dict(zip(workload.queries, workload.truth.tied, strict=True))
    assert all(tied[point_id("set", copy)] for copy in ("7", "8", "9")), "two others are equally good"
    assert sum(tied.values()) < 20


def test_lists_that_are_not_all_searched_miss(made: Path) -> None:
    with open_workload([f"faiss:{made}/lists?nprobe=1", both(made)[0]], "made", 10, 100, 1, Settings()) as workload:
        found = measured(workload)
    lists, exact = found.oracle[:2]
    assert lists.searched == "lists (nprobe=1)"
    assert lists.ann_recall_at_k.mean is not None
    assert lists.ann_recall_at_k.mean < 0.9
    assert lists.queries_below_one > 10
    assert lists.ann_recall_at_k.worst_query is not None
    assert lists.ann_recall_at_k.worst_query.key is not None
    assert exact.ann_recall_at_k.worst == 1
    ordinary, both_exact = found.pairs
    assert (ordinary.different > 10, both_exact.different) == (True, 0)
    assert len(ordinary.differences) == ordinary.different
    assert ordinary.same_share == pytest.approx(1 - ordinary.different / 100)
    assert {one.rank for one in ordinary.differences} <= set(range(1, 11))


def test_a_missed_best_hit_is_seen(store: EmbeddedStore) -> None:
    found = altered(store, lambda hits: [hits[0], *hits[2:]])
    assert found.oracle[1].ann_recall_at_k.mean == 1
    assert found.oracle[3].ann_recall_at_k.mean == pytest.approx(0.8)
    assert found.pairs[1].different == 40
    assert found.pairs[1].overlap_at_k.mean == pytest.approx(0.8)


def test_a_reversed_order_is_seen(store: EmbeddedStore) -> None:
    found = altered(store, lambda hits: hits[:1] + hits[:0:-1])
    assert found.oracle[3].ann_recall_at_k.mean == 1, "the same hits"
    assert found.pairs[1].different == 40
    assert found.pairs[1].kendall_tau_b.mean == pytest.approx(-1, abs=0.1)


def test_wrong_scores_are_seen(store: EmbeddedStore) -> None:
    found = altered(store, lambda hits: [replace(hit, score=hit.score - 0.01) for hit in hits])
    assert found.oracle[3].score_difference.worst == pytest.approx(0.01, abs=1e-5)
    assert found.pairs[1].score_difference.mean == pytest.approx(0.01, abs=1e-5)
    assert found.pairs[1].different == 40


def test_no_hits_are_no_success(store: EmbeddedStore) -> None:
    found = altered(store, lambda hits: [])
    nothing, pair = found.oracle[3], found.pairs[1]
    assert (nothing.ann_recall_at_k.mean, nothing.queries_below_one, nothing.self_missing) == (0, 40, 40)
    assert nothing.score_difference.mean is None
    assert (pair.overlap_at_k.mean, pair.kendall_tau_b.mean, pair.kendall_tau_b.undefined) == (0, None, 40)
    assert {one.delta for one in pair.differences} == {None}


@pytest.mark.parametrize(
    "alter",
    [
        lambda hits: [hits[0], *hits[:-1]],
        lambda hits: [replace(hits[0], id="b6d7c0c4-6f0e-5d0e-9c43-1f6b1f0c8a51"), *hits[1:]],
    ],
)
def test_impossible_hits_are_refused(store: EmbeddedStore, alter: Callable[[list[Hit]], list[Hit]]) -> None:
    with pytest.raises(CbirError, match="returned a point twice, or one that it does not have"):
        altered(store, alter)


class OtherModel(Altered):
    @property
    def info(self) -> StoreInfo:
        return replace(self._store.info, model=ModelRef("other", "1" * 64, 8, 1, random_weights=False))


class OtherVectors(Altered):
    def vectors(self, point_ids: Sequence[str]) -> list[Vector | None]:
        return [None if vector is None else -vector for vector in self._store.vectors(point_ids)]


class OtherIds(Altered):
    def matrix(self) -> tuple[list[str], Vector]:
        ids, vectors = self._store.matrix()
        return ["b6d7c0c4-6f0e-5d0e-9c43-1f6b1f0c8a51", *ids[1:]], vectors


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (OtherModel, "models 000000000000 and 111111111111"),
        (OtherVectors, "the vectors of"),
        (OtherIds, "2 ids are in one only"),
    ],
)
def test_stores_with_other_points_are_refused(store: EmbeddedStore, kind: type[Altered], reason: str) -> None:
    with pytest.raises(UsageError, match=f"do not hold the same points of made: .*{reason}"):
        workload_of([store, kind(store, lambda hits: hits)], 5, 40, 1)


def test_other_counts_end_in_one_line(made: Path, tmp_path: Path, run: Program) -> None:
    other = tmp_path / "other"
    build(both(other), VECTORS[:-1])
    code, out, err = run("parity", "--store", both(made)[0], "--store", both(other)[1])
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "do not hold the same points of made: 600 and 599 points" in err


def test_the_newest_common_collection(made: Path, tmp_path: Path, run: Program) -> None:
    other = tmp_path / "other"
    build(both(other), VECTORS, collection="else")
    urls = "--store", both(made)[0], "--store", both(other)[0]
    code, _, err = run("parity", *urls)
    assert (code, err.count("\n")) == (2, 1)
    assert f"{both(made)[0]} has made; {both(other)[0]} has else" in err
    build(both(other), VECTORS, collection="made")
    build(both(other), VECTORS, collection="newer")
    code, out, _ = run("parity", *urls, "--queries", 20)
    assert code == 0
    assert "made: 600 points" in out
    assert run("parity", *urls, "--collection", "newer")[0] == 2


def test_the_same_store_twice_is_refused_however_it_is_written(
    made: Path, run: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(made.parent)
    (tmp_path / "link").symlink_to(made)
    for again in ("edge:index", "edge:./index", "edge:index/edge?ef=128", f"edge:{tmp_path}/link"):
        code, _, err = run("parity", "--store", both(made)[0], "--store", again)
        assert (code, "the same store twice" in err) == (2, True), again
    assert run("parity", "--store", "edge:index", "--store", "edge:./index?ef=16", "--queries", 5)[0] == 0
    code, _, err = run("parity", "--store", "http://me:secret@host:1", "--store", "http://host:1/")
    assert (code, err) == (2, "error: the same store twice: http://host:1, http://host:1/\n")


def test_too_few_points(tmp_path: Path, run: Program) -> None:
    build(both(tmp_path / "index"), VECTORS[:1])
    code, _, err = run("parity", "--store", f"edge:{tmp_path}/index")
    assert (code, "at least two" in err) == (2, True)


def test_more_hits_than_points(tmp_path: Path) -> None:
    build(both(tmp_path / "index"), VECTORS[:12])
    with open_workload(both(tmp_path / "index"), None, 50, 20, 1, Settings()) as workload:
        found = measured(workload)
    assert (workload.k, len(workload.queries)) == (11, 12)
    assert {one.ann_recall_at_k.worst for one in found.oracle} == {1.0}


def test_tables_and_json(made: Path, tmp_path: Path, run: Program) -> None:
    target = tmp_path / "parity.json"
    urls = store_options(both(made))
    code, out, err = run("parity", *urls, "--queries", 30, "-k", 5, "--json", target)
    assert (code, err) == (0, "")
    assert "Against the exact answer" in out
    assert "Store against store" in out
    assert f"WARNING: {both(made)[0]} scans in its ordinary mode" in " ".join(out.split())
    assert max(map(len, out.splitlines())) <= 100
    assert [path.name for path in tmp_path.iterdir()] == ["parity.json"], "nothing is left beside it"
    result = json.loads(target.read_text())
    assert result["settings"] == {"k": 5, "queries": 30, "seed": 42, "epsilon": 1e-5}
    assert result["counts"]["points"] == COUNT
    assert result["counts"]["exact_copies"] == 2
    assert set(result["versions"]) == {"cbir", "qdrant-edge-py", "qdrant-client", "faiss-cpu", "numpy"}
    assert [(one["mode"], one["ann_recall_at_k"]["mean"]) for one in result["oracle"]][1::2] == [("exact", 1.0)] * 2
    assert result["oracle"][2]["searched"] == "graph (600 of 600 points indexed, ef=128)"
    assert [pair["mode"] for pair in result["pairs"]] == ["ordinary", "exact"]
    code, out, _ = run("parity", *urls, "--queries", 30, "-k", 5, "--json", "-")
    again = json.loads(out)
    assert {**again, "created": ""} == {**result, "created": ""}, "the same seed gives the same figures"


def test_one_store_alone(made: Path, run: Program) -> None:
    code, out, _ = run("parity", "--store", both(made)[1], "--queries", 10)
    assert (code, "Store against store" in out) == (0, False)


def test_a_floor_for_the_recall(made: Path, run: Program) -> None:
    lists = f"faiss:{made}/lists?nprobe=1"
    assert run("parity", "--store", both(made)[0], "--queries", 20, "--min-recall", 1)[0] == 0
    code, out, err = run("parity", "--store", lists, "--queries", 50, "--min-recall", 0.95)
    assert (code, "Against the exact answer" in out, err.count("\n")) == (1, True, 1)
    assert err.startswith(f"error: {lists}: ann_recall_at_10 is 0.")
    assert err.endswith("below 0.95\n")


def test_a_target_that_cannot_be_written_is_refused_first(made: Path, tmp_path: Path, run: Program) -> None:
    for target in (tmp_path, tmp_path / "missing" / "parity.json"):
        code, out, err = run("parity", "--store", both(made)[0], "--json", target)
        assert (code, out, "standard output" in err) == (2, "", True)


def test_only_a_file_is_replaced_and_a_link_to_one_stays(made: Path, tmp_path: Path, run: Program) -> None:
    asked = "parity", "--store", both(made)[0], "--queries", 5, "--json"
    pipe, link, dangling, loop = (tmp_path / name for name in ("pipe", "link", "dangling", "loop"))
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    loop.symlink_to(loop)
    for target in (pipe, link, loop, tmp_path / ("n" * 300)):
        code, out, err = run(*asked, target)
        assert (code, out, err.count("\n")) == (2, "", 1), target
    assert "link is not a file" in run(*asked, link)[2]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    dangling.symlink_to(tmp_path / "real.json")
    for _ in range(2):
        assert run(*asked, dangling)[0] == 0
        assert dangling.is_symlink()
        assert json.loads((tmp_path / "real.json").read_text())["benchmark"] == "parity"


def test_a_target_that_fails_in_the_end_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(CbirError, match="cannot write .*parity.json: No space left on device"):
        write_json(str(tmp_path / "parity.json"), {})
    assert list(tmp_path.iterdir()) == [], "nothing is left beside it"


def test_the_help_names_the_defaults(run: Program) -> None:
    words = " ".join(run("parity", "--help")[1].replace("│", " ").split())
    assert "$CBIR_STORES, or ./index" in words
    assert "the newest that all the stores have" in words


def test_a_narrow_terminal_gets_the_tables_of_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert console.new_console().width == console.WIDTH
    monkeypatch.setenv("COLUMNS", "180")
    assert console.new_console().width == 180


def test_how_and_labels(store: EmbeddedStore) -> None:
    info = replace(store.info, url="edge:a", access="graph", count=2000, indexed=1500, options={"ef": "64"})
    other, server = replace(info, url="edge:b", options={}), replace(info, url="http://localhost:6333")
    assert how(info, ORDINARY) == "graph (1,500 of 2,000 points indexed, ef=64)"
    assert how(other, ORDINARY) == "graph (1,500 of 2,000 points indexed)"
    assert how(info, EXACT) == how(replace(info, access="scan"), ORDINARY) == "scan"
    assert labels([info, server, other]) == {"edge:a": "edge 1", "http://localhost:6333": "server", "edge:b": "edge 2"}
    workload = replace(workload_of([store], 5, 10, 1), infos=[info])
    assert any("WARNING: edge:a has 1,500 of 2,000 points in its graph" in note for note in notes(workload))


def test_every_depth_is_measured_against_its_own_exact_answer(made: Path) -> None:
    with open_workload([f"faiss:{made}/lists?nprobe=1", both(made)[0]], "made", 20, 40, 1, Settings()) as workload:
        found = measured(workload)
        ids, vectors = list(workload.truth.position), workload.truth.vectors
        (rankings, _) = (ask(workload, one, ORDINARY, lambda done: None).rankings for one in workload.stores)
        for at in found.oracle[0].by_k:
            truth = answer(ids, vectors, workload.truth.queries, at.k)
            recalls = [
                recall(truth.scores(number, one.ids[: at.k]), float(truth.threshold[number]), at.k)
                for number, one in enumerate(rankings)
            ]
            assert at.ann_recall_at_k is not None
            assert at.ann_recall_at_k.mean == pytest.approx(sum(recalls) / len(recalls))
    lists, pair = found.oracle[0], found.pairs[0]
    assert [at.k for at in lists.by_k] == [at.k for at in pair.by_k] == [1, 5, 10, 20]
    assert lists.by_k[-1].ann_recall_at_k == lists.ann_recall_at_k
    assert lists.by_k[-1].score_difference == lists.score_difference
    assert (pair.by_k[-1].overlap_at_k, pair.by_k[-1].rbo) == (pair.overlap_at_k, pair.rbo)
    for exact in (found.oracle[1], found.oracle[3]):
        assert all(at.rbo.worst == pytest.approx(1) for at in exact.by_k)
        assert exact.worst == []
    assert measure.depths(7) == [1, 5, 7]
    assert measure.depths(5) == [1, 5]


def test_the_queries_that_differ_most(made: Path) -> None:
    with open_workload([f"faiss:{made}/lists?nprobe=1", both(made)[0]], "made", 10, 40, 1, Settings()) as workload:
        found = measured(workload)
    worst = found.oracle[0].worst
    assert [one.rbo for one in worst] == sorted(one.rbo for one in worst if one.rbo is not None)
    assert (len(worst), worst[0].rbo) == (5, found.oracle[0].by_k[-1].rbo.worst)
    for one in worst:
        mine, theirs = one.hits
        assert one.query.key is not None
        assert [hit.rank for hit in theirs] == list(range(1, 11))
        assert all(hit.id == point_id("set", str(hit.key)) for hit in (*mine, *theirs)), (
            "found or missed, it has its key"
        )
        assert {hit.id for hit in theirs if hit.missing} == {hit.id for hit in theirs} - {hit.id for hit in mine}
        assert any(hit.missing for hit in theirs)


def test_pictures_of_the_queries_that_differ_most(index: Path) -> None:
    with open_workload(both(index)[:1], None, 15, 10, 42, Settings()) as workload:
        opened = workload.stores[0]
        assert isinstance(opened, EmbeddedStore)
        turned = workload_of([opened, Altered(opened, lambda hits: hits[:1] + hits[:0:-1])], 15, 10, 42)
        found = measured(turned)
        pictures = worst_pictures(turned, found)
        plain, shown = parity_json(turned, found), parity_json(turned, found, pictures)
    assert "pictures" not in plain
    assert json.loads(json.dumps(shown))["pictures"].keys() == pictures.keys()
    for one in found.pairs[0].worst:
        assert {one.query.id, *(hit.id for side in one.hits for hit in side[:10])} <= pictures.keys()
    for id_, data in pictures.items():
        assert b64decode(shown["pictures"][id_]) == data
        with Image.open(io.BytesIO(data)) as picture:
            assert (picture.format, max(picture.size) <= 64) == ("JPEG", True)


def test_the_table_by_k_and_thumbnails_that_are_no_pictures(made: Path, tmp_path: Path, run: Program) -> None:
    lists = f"faiss:{made}/lists?nprobe=1"
    code, out, _ = run("parity", "--store", lists, "--queries", 20, "--pictures", "--json", tmp_path / "p.json")
    assert (code, "Ordinary searches by k, means" in out, "@10" in out) == (0, True, True)
    result = json.loads((tmp_path / "p.json").read_text())
    assert result["pictures"] == {}
    assert result["oracle"][0]["worst"][0]["hits"][1][0]["rank"] == 1
