"""`cbir-bench latency`: real indexes, and a store that stalls on purpose."""

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from cbir.bench import command
from cbir.bench.core.metrics import Summary
from cbir.bench.core.stores import ef_values
from cbir.bench.core.timing import times
from cbir.bench.core.workload import Workload, open_workload
from cbir.bench.latency import cold, open_loop, stages, sweep
from cbir.bench.latency.measure import choose_classes
from cbir.bench.latency.sweep import Point, front
from hypothesis import given
from hypothesis import strategies as st

from cbir.errors import CbirError
from cbir.records import Hit, Vector
from cbir.settings import Settings
from cbir.stores.base import DEFAULT_PARAMS, SearchParams, Store
from tests.support.bench_stores import KINDS, build_kinds
from tests.support.building import both, store_options, unit_vectors
from tests.support.running import Program, runner

pytestmark = pytest.mark.bench
COUNT = 2500  # more than Qdrant scans anyway


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    root = tmp_path_factory.mktemp("latency") / "index"
    build_kinds(both(root), unit_vectors(COUNT, dimension=1280), [KINDS[at * 7 % 600] for at in range(COUNT)])
    return both(root)


@pytest.fixture
def workload(urls: list[str]) -> Iterator[Workload]:
    with open_workload(urls, "made", 5, 30, 1, Settings()) as opened:
        yield opened


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    return runner(monkeypatch, capsys, command.main, "cbir-bench")


class Stalling:
    """A store that sleeps once, as one that is busy with something else does."""

    def __init__(self, store: Store, at: int, seconds: float):
        self._store, self._left, self._seconds = store, at, seconds

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def search(self, vectors: Vector, k: int, **how: object) -> list[list[Hit]]:
        self._left -= 1
        if self._left == 0:
            time.sleep(self._seconds)
        return self._store.search(vectors, k, **how)  # type: ignore[arg-type]


class Failing(Stalling):
    """A store that fails at one width of search."""

    def search(
        self, vectors: Vector, k: int, *, params: SearchParams = DEFAULT_PARAMS, **how: object
    ) -> list[list[Hit]]:
        if params.ef == 40:
            raise CbirError("the server has gone")
        return self._store.search(vectors, k, params=params, **how)  # type: ignore[arg-type]


def measured(workload: Workload, efforts: Sequence[int], rounds: int = 2) -> list[sweep.Curve]:
    heard: list[int] = []
    classes = choose_classes(workload, "kind")
    curves, noise = sweep.measure(workload, efforts, classes, [1, 2], rounds, heard.append)
    assert sum(heard) <= sweep.steps(workload, efforts, len(classes), [1, 2], rounds)
    assert 0 < noise.kernel_ms.lowest <= noise.kernel_ms.median <= noise.kernel_ms.highest
    return curves


def test_a_wider_search_finds_more(workload: Workload) -> None:
    for curve in measured(workload, [6, 24, 200]):
        narrow, middle, wide = curve.points
        assert (curve.knob, [one.effort for one in curve.points]) == ("ef", [6, 24, 200])
        means = [one.ann_recall_at_k.mean for one in (narrow, middle, wide) if one.ann_recall_at_k]
        assert means == sorted(means), "the same queries"
        assert means[0] < means[-1], "a width that is not passed on changes nothing"
        assert wide.search_ms and wide.search_ms.samples == 60
        assert wide.search_ms.p999 is None, "60 searches have no p99.9"
        assert [load.threads for load in wide.loads] == [1, 2]
        assert len(wide.filtered) == 2
        assert wide.raw_ms and wide.ratio


def test_widths_that_cannot_hold_the_hits_are_widened(workload: Workload) -> None:
    assert ef_values(workload.infos[0], [1, 2, 50], 5) == [6, 50]
    assert ef_values(workload.infos[0], [], 20)[:2] == [21, 24]


def test_a_case_that_fails_says_why_and_has_no_figures(workload: Workload) -> None:
    stores = [Failing(workload.stores[0], 0, 0), workload.stores[1]]
    broken = Workload(**{**{name: getattr(workload, name) for name in Workload.__dataclass_fields__}, "stores": stores})
    first, second = measured(broken, [20, 40])
    assert first.points[1] == Point(40, "the server has gone")
    assert not first.points[0].failed and not any(one.failed for one in second.points)


def point(recall: float, milliseconds: float) -> Point:
    spent = times([milliseconds])
    return Point(1, ann_recall_at_k=Summary(recall, recall, recall, None, 0), search_ms=spent)


@given(st.lists(st.tuples(st.sampled_from([0.5, 0.8, 0.9, 1.0]), st.sampled_from([1.0, 2.0, 4.0])), min_size=1))
def test_the_front_is_what_nothing_beats(places: list[tuple[float, float]]) -> None:
    marked = front([point(*one) for one in places])
    for (recall, spent), mine in zip(places, marked, strict=True):
        better = [(r, ms) for r, ms in places if r >= recall and ms <= spent and (r, ms) != (recall, spent)]
        assert mine.on_front == (not better)
    assert any(one.on_front for one in marked)


def test_what_failed_is_on_no_front() -> None:
    failed, good = front([Point(1, "it broke"), point(0.5, 9)])
    assert (failed.on_front, good.on_front) == (False, True)


def test_an_open_loop_counts_a_stall_for_all_who_came_meanwhile(workload: Workload) -> None:
    due = open_loop.arrivals(100, 1.0, 1)
    began, ended = open_loop.run(Stalling(workload.stores[1], 20, 0.4), workload, due, 1)  # type: ignore[arg-type]
    response, service = ended - due, ended - began
    assert (response > 0.1).sum() >= 20, "some 40 were due in 0.4 seconds"
    assert (service > 0.1).sum() <= 3, "a closed loop hears of one"
    assert (began >= due).all()


@pytest.mark.parametrize("threads", [1, 3])
def test_every_arrival_is_answered_once_and_never_early(workload: Workload, threads: int) -> None:
    due = open_loop.arrivals(200, 0.5, 3)
    began, ended = open_loop.run(workload.stores[1], workload, due, threads)
    assert len(due) == 100 and due[-1] == pytest.approx(0.5)
    assert (began >= due).all() and (ended > began).all()


def test_arrivals_are_random_and_repeatable() -> None:
    one, same, other = (open_loop.arrivals(50, 10, seed) for seed in (1, 1, 2))
    gaps = np.diff(one)
    assert (one == same).all() and (one != other).any()
    assert (gaps > 0).all() and 0.7 < gaps.std() / gaps.mean() < 1.3, "those of a Poisson process vary as their mean"


def test_a_store_that_fails_in_the_open_loop_says_why(workload: Workload) -> None:
    class Gone(Stalling):
        def search(self, vectors: Vector, k: int, **how: object) -> list[list[Hit]]:
            raise CbirError("the server has gone")

    stores = [Gone(workload.stores[0], 0, 0)]
    broken = Workload(**{**{name: getattr(workload, name) for name in Workload.__dataclass_fields__}, "stores": stores})
    rates = open_loop.measure(broken, 0, 100, 2, 0.1, lambda done: None)
    assert {one.failed for one in rates} == {"the server has gone"}
    assert all(one.response_ms is None for one in rates)


def test_the_first_searches_are_those_of_a_process_of_its_own(urls: list[str]) -> None:
    for url in urls:
        found = cold.measure(url, "made", 5, 1, 1)
        assert found and found.dropped
        assert found.open_ms.median > 0 and found.first_ms.median > 0 and found.warm_ms.median > 0
    assert cold.measure("http://localhost:6333", "made", 5, 1, 1) is None


def test_stages_add_up(index: Path) -> None:
    with open_workload(both(index), None, 5, 8, 1, Settings()) as workload:
        found = stages.measure(workload, Settings())
    for one in found:
        assert sum(one.shares.values()) == pytest.approx(1)
        assert one.embedding_ms == pytest.approx(sum(one.parts_ms.values()))
        assert one.shares["embedding"] > 0.3 and one.transport_ms is None


def test_the_command_line(run: Program, urls: list[str], tmp_path: Path) -> None:
    stores = store_options(urls)
    sizes = ["--queries", "20", "-k", "5", "--effort", "8,64", "--threads", "1,2", "--rounds", "1", "--seconds", "0.2"]
    code, out, _ = run("latency", *stores, *sizes, "--field", "kind", "--json", str(tmp_path / "out.json"))
    assert code == 0
    assert "edge: open loop, 2 threads" in out and "Cold, in milliseconds" in out and "coordinated omission" in out
    result = json.loads((tmp_path / "out.json").read_text())
    assert [curve["store"] for curve in result["curves"]] == urls
    assert [len(curve["points"]) for curve in result["curves"]] == [2, 2]
    assert [len(one["rates"]) for one in result["open_loop"]] == [len(open_loop.SHARES)] * 2


@pytest.mark.parametrize("wrong", [("--effort", "0"), ("--effort", "a,b"), ("--threads", "0"), ("--seconds", "-1")])
def test_what_cannot_be_asked_is_one_line(run: Program, urls: list[str], wrong: tuple[str, str]) -> None:
    code, _, err = run("latency", "--store", urls[0], *wrong)
    assert code == 2 and wrong[0] in err and len(err.strip().splitlines()) == 1
