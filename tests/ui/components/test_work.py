"""Work in a thread of its own."""

import threading
from collections.abc import Callable

import pytest
from cbir.ui.components.work import Work

SECONDS = 20


def test_a_task_reports_its_share_while_it_runs() -> None:
    reported, may_end = threading.Event(), threading.Event()

    def task(on_progress: Callable[[float], object]) -> int:
        on_progress(0.5)
        reported.set()
        assert may_end.wait(SECONDS)
        return 7

    work = Work(task)
    assert reported.wait(SECONDS)
    assert (work.share, work.done()) == (0.5, False)
    may_end.set()
    assert work.result() == 7
    assert work.done()


def test_an_error_is_raised_by_the_result() -> None:
    class PanicError(BaseException):
        """The engine's panics are no exceptions either."""

    def task(on_progress: Callable[[float], object]) -> None:
        raise PanicError

    with pytest.raises(PanicError):
        Work(task).result()


def test_two_tasks_run_at_once_and_a_third_waits() -> None:
    started = [threading.Event() for _ in range(3)]
    may_end = threading.Event()

    def wait(event: threading.Event) -> Callable[[Callable[[float], object]], None]:
        def task(on_progress: Callable[[float], object]) -> None:
            event.set()
            assert may_end.wait(SECONDS)

        return task

    first = [Work(wait(event)) for event in started[:2]]
    assert all(event.wait(SECONDS) for event in started[:2])
    last = Work(wait(started[2]))
    assert not started[2].is_set()
    may_end.set()
    for work in (*first, last):
        work.result()
    assert started[2].is_set()
