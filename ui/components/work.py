"""Work of some seconds that is done once for all visitors, in a thread of its own, while every page stays usable."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

import streamlit as st

Result = TypeVar("Result")
OnProgress = Callable[[float], object]

_INTERVAL_SECONDS = 0.5
_slots = threading.BoundedSemaphore(2)


class Work(Generic[Result]):
    """A task in a thread. It starts at once, or waits while two others are running.

    Attributes:
        share: The completed share, from 0 to 1, as reported by the task.
    """

    def __init__(self, task: Callable[[OnProgress], Result]):
        self.share = 0.0
        self._started = time.monotonic()
        self._future: Future[Result] = Future()
        threading.Thread(
            target=self._run, args=(task,), daemon=True
        ).start()  # a daemon does not delay the server's end

    @property
    def seconds(self) -> float:
        """Seconds since its creation."""
        return time.monotonic() - self._started

    @property
    def done(self) -> bool:
        """True when there is a result or an error."""
        return self._future.done()

    def result(self) -> Result:
        """Return the task's result, or raise its error; waits until it is done."""
        return self._future.result()

    def _run(self, task: Callable[[OnProgress], Result]) -> None:
        try:
            with _slots:
                self._future.set_result(task(self._on_progress))
        except BaseException as error:  # also a panic of the engine: the caller of `result` gets it
            self._future.set_exception(error)

    def _on_progress(self, share: float) -> None:
        self.share = share


def show_progress(work: Work[Result], text: str) -> None:
    """Draw the progress of the work; when it is done, the page is drawn again."""

    def update() -> None:
        if work.done:
            st.rerun()
        st.progress(work.share, f"{text} {work.seconds:.0f} s")

    st.fragment(update, run_every=_INTERVAL_SECONDS)()
