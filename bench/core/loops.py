"""The bounds of an ingest, in a process of their own: the model over ready pixels, and decoding and the model.

Run as `python -m cbir.bench.core.loops JSON`; prints what it measured as one line of JSON.
"""

import json
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from cbir.models.runtime import Provider
from cbir.models.sealed import Embedder


@dataclass(frozen=True)
class Loop:
    """What to measure.

    Attributes:
        model: The model file.
        pictures: Folder of image files; all are held in memory.
        decode: Decode them (as the ingest does: scaled where the file allows it) in the loop, not before it.
        workers: Threads that take pictures through the loop.
        threads: Of the model in each of them.
        batch_size: Pictures in one model run.
        provider: What runs it.
        seconds: How long.
        max_megapixels: The largest picture to decode.
    """

    model: str
    pictures: str
    decode: bool
    workers: int
    threads: int
    batch_size: int
    provider: Provider
    seconds: float
    max_megapixels: float


def run(loop: Loop) -> dict[str, Any]:
    """Return how many pictures went through, and in how many seconds of the clock and of the processor."""
    embedder = Embedder(Path(loop.model), threads=loop.threads, provider=loop.provider)

    def pixels(files: Sequence[bytes]) -> np.ndarray:
        return np.stack([embedder.pixels(embedder.decode(data, loop.max_megapixels)) for data in files])

    files = [path.read_bytes() for path in sorted(Path(loop.pictures).iterdir())]
    ready: Any = files if loop.decode else pixels(files)
    batches = cycle([ready[start : start + loop.batch_size] for start in range(0, len(ready), loop.batch_size)])
    turn = threading.Lock()

    def work(until: float) -> int:
        done = 0
        while time.perf_counter() < until:
            with turn:
                batch = next(batches)
            embedder.run(pixels(batch) if loop.decode else batch)
            done += len(batch)
        return done

    with ThreadPoolExecutor(loop.workers) as pool:
        list(pool.map(work, [time.perf_counter() + 0.1] * loop.workers))  # a session's first runs make its plans
        start, spent = time.perf_counter(), time.process_time()
        images = sum(pool.map(work, [start + loop.seconds] * loop.workers))
        seconds, core_seconds = time.perf_counter() - start, time.process_time() - spent
    return {"images": images, "seconds": seconds, "core_seconds": core_seconds}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(Loop(**json.loads(sys.argv[1])))) + "\n")
