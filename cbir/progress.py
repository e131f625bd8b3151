"""Progress of long work, as plain types: the caller decides how it is shown, and by default it is not."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int], None]
"""Called with the number of items done since the last call."""


class Progress(Protocol):
    """Shows how far a piece of work is; `cbir.terminal.progress` is one, `silent` another."""

    def __call__(
        self, description: str, total: int | None, unit: str = "images", done: int = 0
    ) -> AbstractContextManager[Advance]:
        """Return a context that yields the function to call as items are done.

        Args:
            description: What is being done.
            total: How many items there are, if known.
            unit: What an item is.
            done: Where to start: what an earlier run did counts for the whole, but not for the rate.
        """


@contextmanager
def silent(description: str, total: int | None, unit: str = "images", done: int = 0) -> Iterator[Advance]:
    """Show nothing."""
    yield lambda count: None
