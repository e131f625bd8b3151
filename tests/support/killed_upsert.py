"""Kills a process that stores points, again and again, and checks the points that it had acknowledged.

    python -m tests.support.killed_upsert FOLDER KILLS SEED

A process of its own forks the one to be killed, so that fifty kills take seconds: everything is imported once, and no
thread of a test runner is forked along. Prints points acknowledged, found and wrong.
"""

import os
import random
import signal
import sys
from pathlib import Path

import numpy as np

from cbir.index.layout import BUILDING, LOG
from cbir.index.vector_log import VectorLog
from tests.support.building import DIMENSION, both, builder_for, points_of, unit_vectors
from tests.support.signal_point import interrupted

COUNT = 10_000
MOST_A_KILL = 180
"""Points to store before a kill: fifty kills leave some to store."""

LINES_OF_A_WRITE = 80

VECTORS = unit_vectors(COUNT)
POINTS = points_of(VECTORS)


def store(root: Path, acknowledged: int, count: int, lines: int) -> None:
    """Store points that are not stored yet, saying after each how many there are; die while storing one more."""
    builder = builder_for(both(root), VECTORS)
    todo = [point for point in POINTS if point.id not in builder.stored_ids]
    done = COUNT - len(todo)
    for point in todo[:count]:
        builder.write([point])
        done += 1
        os.write(acknowledged, done.to_bytes(4, "little"))
    interrupted(lambda: builder.write(todo[count : count + 1]), lines, os.getpid())


def kill_one(root: Path, count: int, lines: int) -> int:
    """Return how many points a process had acknowledged when it was killed, so many points and lines later."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            store(root, writer, count, lines)
        finally:
            os._exit(1)
    os.close(writer)
    said = b""
    while more := os.read(reader, 2**16):
        said = (said + more)[-4:]
    os.close(reader)
    _, status = os.waitpid(child, 0)
    if not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
        raise SystemExit("it failed before it was killed")
    return int.from_bytes(said, "little")


def main() -> None:
    """Kill, check, go on."""
    root, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    chance = random.Random(seed)
    expected = {point.id: point for point in POINTS}
    acknowledged = lost = wrong = 0
    for number in range(kills):
        count, lines = chance.randint(1, MOST_A_KILL), chance.randint(0, LINES_OF_A_WRITE)
        acknowledged = max(acknowledged, kill_one(root, count, lines))
        log = VectorLog(root / "made" / BUILDING / LOG, DIMENSION)
        lost += max(0, acknowledged - len(log))
        for point in log.points() if number % 10 == 9 else ():
            true = expected.get(point.id)
            same = true is not None and np.array_equal(point.vector, true.vector)
            wrong += not (same and true and point.payload == true.payload and point.thumbnail == true.thumbnail)
    sys.stdout.write(f"{acknowledged} {lost} {wrong}\n")


if __name__ == "__main__":
    main()
