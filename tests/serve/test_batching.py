"""Concurrent requests share work."""

import asyncio
import threading
from collections.abc import Sequence
from typing import TypeVar

import pytest
from cbir.serve.batching import Batcher

Item = TypeVar("Item")


async def first_alone(
    batcher: Batcher[Item, Item], items: Sequence[Item], inside: threading.Event
) -> "list[asyncio.Task[Item]]":
    """Ask for all items, once the first is being worked on, and return when the others wait."""
    tasks = [asyncio.create_task(batcher(items[0]))]
    while not inside.is_set():
        await asyncio.sleep(0.001)
    tasks += [asyncio.create_task(batcher(item)) for item in items[1:]]
    while batcher.waiting < len(items) - 1:
        await asyncio.sleep(0.001)
    return tasks


def test_what_waits_is_done_together_and_everybody_gets_their_own() -> None:
    batches: list[list[int]] = []
    inside, free = threading.Event(), threading.Event()

    def doubled(items: Sequence[int]) -> list[int]:
        inside.set()
        free.wait(30)
        batches.append(list(items))
        return [2 * item for item in items]

    async def main() -> list[int]:
        batcher = Batcher(doubled, most=4)
        tasks = await first_alone(batcher, list(range(9)), inside)
        free.set()
        results = await asyncio.gather(*tasks)
        batcher.close()
        return results

    assert asyncio.run(main()) == [2 * item for item in range(9)]
    assert batches == [[0], [1, 2, 3, 4], [5, 6, 7, 8]]


def test_a_bad_item_fails_alone() -> None:
    inside, free = threading.Event(), threading.Event()

    def inverse(items: Sequence[float]) -> list[float]:
        inside.set()
        free.wait(30)
        return [1 / item for item in items]

    async def main() -> list[float | BaseException]:
        batcher = Batcher(inverse, most=8)
        tasks = await first_alone(batcher, [1.0, 2.0, 0.0, 4.0], inside)
        free.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, second, bad, last = asyncio.run(main())
    assert (first, second, last) == (1.0, 0.5, 0.25)
    assert isinstance(bad, ZeroDivisionError)


def test_an_error_among_the_results_is_raised() -> None:
    batcher: Batcher[int, int] = Batcher(lambda items: [ValueError(str(item)) for item in items], most=4)
    with pytest.raises(ValueError, match="7"):
        asyncio.run(_awaited(batcher, 7))


def test_several_threads_work_at_the_same_time() -> None:
    both = threading.Barrier(2, timeout=30)

    def met(items: Sequence[int]) -> list[int]:
        both.wait()
        return list(items)

    async def main() -> list[int]:
        batcher = Batcher(met, most=1, threads=2)
        return await asyncio.gather(batcher(1), batcher(2))

    assert asyncio.run(main()) == [1, 2]


def test_a_caller_who_has_left_disturbs_nobody() -> None:
    inside, free = threading.Event(), threading.Event()

    def echo(items: Sequence[int]) -> list[int]:
        inside.set()
        free.wait(30)
        return list(items)

    async def main() -> int:
        batcher = Batcher(echo, most=4)
        tasks = await first_alone(batcher, [1, 2, 3], inside)
        tasks[1].cancel()
        free.set()
        return await tasks[2]

    assert asyncio.run(main()) == 3


async def _awaited(batcher: Batcher[int, int], item: int) -> int:
    return await batcher(item)
