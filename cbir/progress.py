"""Progress of long work. The caller decides how it is shown; by default it is not shown."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int], None]
"""Called with the number of items done since the last call."""


class Progress(Protocol):
    """Shows the progress of a piece of work; implemented by `cbir.terminal.progress` and `silent`."""

    def __call__(
        self, description: str, total: int | None, unit: str = "images", done: int = 0
    ) -> AbstractContextManager[Advance]:
        """Return a context that yields the function to call as items are done.

        Args:
            description: The name of the work.
            total: The number of items, None if unknown.
            unit: What is counted.
            done: The number of items done by earlier runs; they count for the total, but not for the rate.
        """


@contextmanager
def silent(description: str, total: int | None, unit: str = "images", done: int = 0) -> Iterator[Advance]:
    """Show nothing."""
    yield lambda count: None
