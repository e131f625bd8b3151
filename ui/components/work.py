"""Work of some seconds that is done once for all visitors: in a thread of its own, while every page stays usable."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

import streamlit as st

Result = TypeVar("Result")
Advance = Callable[[float], object]

_LOOKS_EVERY = 0.5
_at_once = threading.BoundedSemaphore(2)


class Work(Generic[Result]):
    """A task that starts when this is made, or when another is done where two are being worked on.

    Attributes:
        share: How much is done, from 0 to 1, as far as the task tells.
    """

    def __init__(self, task: Callable[[Advance], Result]):
        self.share = 0.0
        self._started = time.monotonic()
        self._future: Future[Result] = Future()
        threading.Thread(target=self._run, args=(task,), daemon=True).start()  # none that the server's end waits for

    @property
    def seconds(self) -> float:
        """Seconds since it was made."""
        return time.monotonic() - self._started

    @property
    def done(self) -> bool:
        """True when there is a result, or an error."""
        return self._future.done()

    def result(self) -> Result:
        """Return what the task returned, or raise what it raised; waits until it is done."""
        return self._future.result()

    def _run(self, task: Callable[[Advance], Result]) -> None:
        try:
            with _at_once:
                self._future.set_result(task(self._advance))
        except BaseException as error:  # the engine's panics, too: who asks for the result is told
            self._future.set_exception(error)

    def _advance(self, share: float) -> None:
        self.share = share


def show_progress(work: Work[Result], text: str) -> None:
    """Show how far the work is; when it is done, the page is drawn again."""

    def look() -> None:
        if work.done:
            st.rerun()
        st.progress(work.share, f"{text} {work.seconds:.0f} s")

    st.fragment(look, run_every=_LOOKS_EVERY)()
