"""Searches at given rates: real stores, and a store that stalls on purpose."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cbir.bench.core.metrics import Summary
from cbir.bench.core.timing import Spread, times
from cbir.bench.core.workload import Workload, open_workload
from cbir.bench.latency import open_loop
from cbir.bench.latency.measure import ClosedLoop, Curve, Point

from cbir.errors import CbirError
from cbir.records import Hit, Vector
from cbir.settings import Settings
from cbir.stores.base import Store
from tests.support.bench_stores import AlteredStore
from tests.support.building import both

SPENT = times([1.0])
POINT = Point(
    128,
    Summary(1.0, 1.0, 1.0, None, 0),
    SPENT,
    Spread(1, 1, 1),
    None,
    None,
    [ClosedLoop(2, Spread(100, 90, 110), SPENT)],
    [],
)
CURVE = Curve("faiss:a", "graph", "ef", 128, [POINT], [])


@pytest.fixture
def opened(made: Path) -> Any:
    with open_workload(both(made)[1:], "made", 5, 30, 1, Settings()) as workload:
        yield workload


def test_an_open_loop_counts_a_stall_for_all_who_came_meanwhile(opened: Workload) -> None:
    searches: list[int] = []

    def stalling(store: Store, vectors: Vector, k: int, **options: Any) -> list[list[Hit]]:
        searches.append(1)
        if len(searches) == 20:
            time.sleep(0.4)
        return store.search(vectors, k, **options)

    due = open_loop.arrivals(100, 1.0, 1)
    store: Any = AlteredStore(opened.stores[0], stalling)
    began, ended = open_loop.run(store, opened, due, 1)
    response, service = ended - due, ended - began
    assert (response > 0.1).sum() >= 20, "some 40 were due in 0.4 seconds"
    assert response.sum() > 5 * service.sum(), "a closed loop counts the stall once"
    assert (began >= due).all()


@pytest.mark.parametrize("threads", [1, 3])
def test_every_arrival_is_answered_once_and_never_early(opened: Workload, threads: int) -> None:
    due = open_loop.arrivals(200, 0.5, 3)
    began, ended = open_loop.run(opened.stores[0], opened, due, threads)
    assert len(due) == 100 and due[-1] == pytest.approx(0.5)
    assert (began >= due).all() and (ended > began).all()


def test_arrivals_are_random_and_repeatable() -> None:
    first, same, other = (open_loop.arrivals(50, 10, seed) for seed in (1, 1, 2))
    gaps = np.diff(first)
    assert (first == same).all() and (first != other).any()
    assert (gaps > 0).all() and 0.7 < gaps.std() / gaps.mean() < 1.3, "those of a Poisson process vary as their mean"


def test_every_rate_is_a_share_of_the_best_closed_loop(opened: Workload) -> None:
    found = open_loop.measure(opened, 0, CURVE, 2, 0.4, lambda done: None)
    assert [(rate.share, rate.due_per_second, rate.threads) for rate in found.rates] == [
        (share, pytest.approx(100 * share, abs=2), 2) for share in open_loop.SHARES
    ]
    for rate in found.rates:
        assert rate.late_ms >= 0
        assert rate.response_ms.median >= rate.service_ms.median


def test_a_store_that_fails_has_the_reason(opened: Workload) -> None:
    def stopped(*arguments: Any, **options: Any) -> list[list[Hit]]:
        raise CbirError("the server has stopped")

    stores: list[Any] = [AlteredStore(opened.stores[0], stopped)]
    found = open_loop.measure(replace(opened, stores=stores), 0, CURVE, 2, 0.1, lambda done: None)
    assert found.failures[0] == "25% of its best: the server has stopped"
    assert (len(found.failures), found.rates) == (len(open_loop.SHARES), [])
    nothing = open_loop.measure(opened, 0, replace(CURVE, points=[]), 2, 0.1, lambda done: None)
    assert (nothing.rates, nothing.failures) == ([], []), "there is no closed loop to take a share of"
