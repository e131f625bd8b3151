"""Work of some seconds that is done once for all visitors, in a thread of its own, while every page stays usable."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import TypeVar

import streamlit as st

Result = TypeVar("Result")
OnProgress = Callable[[float], object]

_INTERVAL_SECONDS = 0.5
_slots = threading.BoundedSemaphore(2)


class Work(Future[Result]):
    """A task in a thread. It starts at once, or waits while two others are running.

    `share` is the completed share, from 0 to 1, as reported by the task, and `started` the time of its creation.
    """

    def __init__(self, task: Callable[[OnProgress], Result]):
        super().__init__()
        self.share = 0.0
        self.started = time.monotonic()

        def run() -> None:
            try:
                with _slots:
                    self.set_result(task(partial(setattr, self, "share")))
            except BaseException as error:  # also a panic of the engine: the caller of `result` gets it
                self.set_exception(error)

        threading.Thread(target=run, daemon=True).start()  # a daemon does not delay the exit


def show_progress(work: Work[Result], text: str) -> None:
    """Draw the progress of the work; when it is done, the page is drawn again."""

    def update() -> None:
        if work.done():
            st.rerun()
        st.progress(work.share, f"{text} {time.monotonic() - work.started:.0f} s")

    st.fragment(update, run_every=_INTERVAL_SECONDS)()
