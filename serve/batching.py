"""Work that concurrent requests share: what arrives while a thread is busy is done together as soon as it is free."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """Calls a function with everything that is waiting, and gives each caller its own result.

    A single caller never waits for others. If the function fails for several items, it is called for each of them, so
    that one bad item fails alone.
    """

    def __init__(self, run: Callable[[Sequence[Item]], Sequence[Result | BaseException]], most: int, threads: int = 1):
        """Prepare threads that call `run` with at most `most` items. An error among its results is raised."""
        self._run = run
        self._most = most
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, "cbir-batch")
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._busy = 0
        self._lock = threading.Lock()

    @property
    def waiting(self) -> int:
        """The number of items that no thread works on yet."""
        return len(self._waiting)

    async def __call__(self, item: Item) -> Result:
        """Return the result for an item, or raise what the function raised for it."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        with self._lock:
            self._waiting.append((item, future))
            start = self._busy < self._threads
            self._busy += start
        if start:
            self._pool.submit(self._work, loop)
        return await future

    def close(self) -> None:
        """Wait for the threads to finish what is waiting."""
        self._pool.shutdown()

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            with self._lock:
                batch = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
                if not batch:
                    self._busy -= 1
                    return
            results = self._results([item for item, _ in batch])
            loop.call_soon_threadsafe(_deliver, [future for _, future in batch], results)

    def _results(self, items: Sequence[Item]) -> list[Result | BaseException]:
        try:
            return list(self._run(items))
        except BaseException as error:
            return [error] if len(items) == 1 else [self._results([item])[0] for item in items]


def _deliver(futures: Sequence["asyncio.Future[Result]"], results: Sequence[Result | BaseException]) -> None:
    for future, result in zip(futures, results, strict=True):
        if future.done():  # its client has gone
            continue
        if isinstance(result, BaseException):
            future.set_exception(result)
        else:
            future.set_result(result)
