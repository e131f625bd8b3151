"""Searches at given rates: real stores, and a store that stalls on purpose."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cbir.bench.core.workload import Workload, open_workload
from cbir.bench.latency import loops

from cbir.errors import CbirError
from cbir.records import Hit, Vector
from cbir.settings import Settings
from cbir.stores.base import Store
from tests.support.bench_stores import AlteredStore
from tests.support.building import both


def searching(store: Any, workload: Workload) -> loops.Search:
    return lambda number: store.search(workload.vectors[number % len(workload.vectors)][None], workload.k)


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

    due = loops.arrivals(100, 1.0, 1)
    store: Any = AlteredStore(opened.stores[0], stalling)
    began, ended = loops.run(searching(store, opened), due, 1)
    response, service = ended - due, ended - began
    assert (response > 0.1).sum() >= 20, "some 40 were due in 0.4 seconds"
    assert response.sum() > 5 * service.sum(), "a closed loop counts the stall once"
    assert (began >= due).all()


@pytest.mark.parametrize("threads", [1, 3])
def test_every_arrival_is_answered_once_and_never_early(opened: Workload, threads: int) -> None:
    due = loops.arrivals(200, 0.5, 3)
    began, ended = loops.run(searching(opened.stores[0], opened), due, threads)
    assert len(due) == 100 and due[-1] == pytest.approx(0.5)
    assert (began >= due).all() and (ended > began).all()


def test_arrivals_are_random_and_repeatable() -> None:
    first, same, other = (loops.arrivals(50, 10, seed) for seed in (1, 1, 2))
    gaps = np.diff(first)
    assert (first == same).all() and (first != other).any()
    assert (gaps > 0).all() and 0.7 < gaps.std() / gaps.mean() < 1.3, "those of a Poisson process vary as their mean"


def test_a_closed_loop_begins_a_search_when_the_last_one_has_ended(opened: Workload) -> None:
    began, ended = loops.run(searching(opened.stores[0], opened), np.zeros(30), 1)
    assert (began[1:] >= ended[:-1]).all()
    found = loops.closed_loop(1, [(began, ended)])
    assert found.searches_per_second.value == pytest.approx(30 / ended[-1])
    assert found.search_ms.median == pytest.approx(1000 * np.median(ended - began))


def test_every_rate_is_a_share_of_the_best_closed_loop(opened: Workload) -> None:
    rates, failures = loops.open_loop(searching(opened.stores[0], opened), 100, 2, 0.4, 1)
    assert [(rate.share, rate.due_per_second) for rate in rates] == [
        (share, pytest.approx(100 * share, abs=2)) for share in loops.SHARES
    ]
    assert failures == []
    for rate in rates:
        assert rate.late_ms >= 0
        assert rate.response_ms.median >= rate.service_ms.median


def test_a_response_is_timed_from_the_moment_it_was_due() -> None:
    """Eleven searches of 30 ms are due in 100 ms, so that most of them wait for others."""
    rates, _ = loops.open_loop(lambda number: time.sleep(0.03), 100, 1, 0.1, 1)
    assert rates[-1].response_ms.median > 2 * rates[-1].service_ms.median


def test_a_store_that_fails_has_the_reason() -> None:
    def stopped(number: int) -> object:
        raise CbirError("the server has stopped")

    rates, failures = loops.open_loop(stopped, 100, 2, 0.1, 1)
    assert failures[0] == "25% of its best: the server has stopped"
    assert (len(failures), rates) == (len(loops.SHARES), [])
    assert loops.open_loop(stopped, 0, 2, 0.1, 1) == ([], []), "there is no best to take a share of"
