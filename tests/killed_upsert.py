"""Kills a process that stores points, again and again, and checks what it had acknowledged.

    python -m tests.killed_upsert FOLDER KILLS SEED

A process of its own forks the one to be killed, so that fifty kills take seconds: everything is imported once, and no
thread of a test runner is forked along. Prints points acknowledged, found and wrong.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np

from cbir.generation import BUILDING, LOG
from cbir.vector_log import VectorLog

from .building import DIMENSION, both, builder_for, points_of, unit_vectors

COUNT = 10_000
VECTORS = unit_vectors(COUNT)
POINTS = points_of(VECTORS)


def store(root: Path, acknowledged: int) -> None:
    """Store points that are not stored yet, saying after each how many there are."""
    builder = builder_for(both(root), VECTORS)
    todo = [point for point in POINTS if point.id not in builder.known]
    done = COUNT - len(todo)
    while todo:
        builder.write(todo[:1])
        done += 1
        del todo[0]
        os.write(acknowledged, done.to_bytes(4, "little"))


def kill_one(root: Path, seconds: float) -> int:
    """Return how many points a process had acknowledged when it was killed, so long after its first point."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        store(root, writer)
        os._exit(0)
    os.close(writer)
    said = os.read(reader, 4)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while more := os.read(reader, 2**16):
        said = (said + more)[-4:]
    os.close(reader)
    return int.from_bytes(said, "little")


def main() -> None:
    """Kill, check, go on."""
    root, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    chance = random.Random(seed)
    expected = {point.id: point for point in POINTS}
    acknowledged = lost = wrong = 0
    for number in range(kills):
        acknowledged = max(acknowledged, kill_one(root, chance.uniform(0, 0.02)))
        log = VectorLog(root / "made" / BUILDING / LOG, DIMENSION)
        lost += max(0, acknowledged - len(log))
        for point in log.points() if number % 10 == 9 else ():
            true = expected.get(point.id)
            same = true is not None and np.array_equal(point.vector, true.vector)
            wrong += not (same and true and point.payload == true.payload and point.thumbnail == true.thumbnail)
    sys.stdout.write(f"{acknowledged} {lost} {wrong}\n")


if __name__ == "__main__":
    main()
