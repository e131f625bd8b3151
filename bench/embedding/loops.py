"""The bounds of an ingest: the model over ready pixels, and decoding plus the model, in a process of their own.

Run as `python -m cbir.bench.embedding.loops JSON`; prints what it measured as one line of JSON.
"""

import json
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from cbir.models.embedder import Embedder
from cbir.settings import Settings


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Return how many images went through, and in how many seconds of the clock and of the processor.

    All files are held in memory. With `decode` they are decoded in the loop (as the ingest does: scaled where the file
    allows it), else before it. Each of the `workers` runs the model with its `threads`.

    Args:
        job: model: the model file; images: folder of files; decode, workers, threads, batch_size, provider, seconds.
    """
    max_megapixels = Settings().max_image_megapixels
    embedder = Embedder(Path(job["model"]), threads=job["threads"], provider=job["provider"])
    decode, workers, batch_size = job["decode"], job["workers"], job["batch_size"]

    def pixels(files: Sequence[bytes]) -> np.ndarray:
        return np.stack([embedder.pixels(embedder.decode(data, max_megapixels)) for data in files])

    files = [path.read_bytes() for path in sorted(Path(job["images"]).iterdir())]
    ready: Any = files if decode else pixels(files)
    batches = cycle([ready[start : start + batch_size] for start in range(0, len(ready), batch_size)])
    turn = threading.Lock()

    def work(until: float) -> int:
        done = 0
        while time.perf_counter() < until:
            with turn:
                batch = next(batches)
            embedder.run(pixels(batch) if decode else batch)
            done += len(batch)
        return done

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, [time.perf_counter() + 0.1] * workers))  # a session's first runs make its plans
        start, spent = time.perf_counter(), time.process_time()
        count = sum(pool.map(work, [start + job["seconds"]] * workers))
        seconds, core_seconds = time.perf_counter() - start, time.process_time() - spent
    return {"images": count, "seconds": seconds, "core_seconds": core_seconds}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(json.loads(sys.argv[1]))) + "\n")
