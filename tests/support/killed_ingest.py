"""`cbir-ingest` that gets a signal at a given point, and counts what it embedded, stored and flushed.

    python -m tests.support.killed_ingest ARGUMENTS...

Run by `tests.support.killing`, with its task in the variable `KILLED_INGEST`. It can contain a bug that the harness has
to find.
"""

import json
import multiprocessing
import os
import signal
import threading
import uuid
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial, wraps
from pathlib import Path
from typing import Any

from cbir.ingest import command

import cbir.index.publishing
import cbir.pipeline.workers
import cbir.stores.embedded.build
import cbir.stores.embedded.making
import cbir.stores.embedded.writer
from cbir.index.log_writer import LogWriter
from cbir.index.stored_ids import LogIds
from cbir.models.embedder import Embedder
from cbir.pipeline.writers import Target
from cbir.stores.embedded.growing import GrowingBuild
from cbir.stores.qdrant.writer import QdrantWriter
from tests.support.signal_point import SignalPoint, interrupted

PHASES = {
    "decode": [(Embedder, "decode")],
    "embed": [(Embedder, "run")],
    "upsert": [(Target, "write")],
    "flush": [(Target, "flush"), (LogWriter, "flush")],
    "optimise": [
        (GrowingBuild, "finish"),
        (cbir.stores.embedded.making, "build_engine"),
        (cbir.stores.embedded.build, "_child"),
    ],
    "publish": [
        (cbir.stores.embedded.writer, "regroup"),
        (cbir.index.publishing, "manifest_of"),
        (cbir.index.publishing, "save"),
        (cbir.index.publishing, "_point_to"),
        (cbir.stores.embedded.making, "remove_leftovers"),
        (QdrantWriter, "publish"),
    ],
}
"""The functions in which the signal may be sent; `_child` runs in the process that builds an engine."""


def watch(point: SignalPoint, passed: Path) -> None:
    """Send the signal at its point. The count is in a file, which the processes of the engines share."""
    counter = os.open(passed, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    counting = threading.Lock()

    def reached(count: int) -> bool:
        with counting:
            before = os.fstat(counter).st_size
            if before < point.count:
                os.write(counter, bytes(count))
            return before < point.count <= before + count

    def watched(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def wrapper(*arguments: Any) -> Any:
            if not reached(len(arguments[1]) if point.phase in ("embed", "upsert") else 1):
                return function(*arguments)
            ingest = multiprocessing.parent_process()
            process = os.getpid() if ingest is None or ingest.pid is None else ingest.pid
            return interrupted(partial(function, *arguments), point.lines, process, point.signal)

        return wrapper

    for owner, name in PHASES[point.phase]:
        setattr(owner, name, watched(getattr(owner, name)))


def count_embedded(path: Path) -> None:
    """Append the number of images whenever the model has run."""
    counter = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    run = Embedder.run

    def counted(self: Embedder, pixels: Any) -> Any:
        vectors = run(self, pixels)
        os.write(counter, f"{len(pixels)}\n".encode())
        return vectors

    Embedder.run = counted  # type: ignore[method-assign]


def count_stored(path: Path) -> None:
    """Append the number of points whenever some were stored."""
    counter = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    write = Target.write

    def counted(self: Target, points: Any, failures: Any) -> Any:
        refused = write(self, points, failures)
        os.write(counter, f"{len(points) - len(refused)}\n".encode())
        return refused

    Target.write = counted  # type: ignore[method-assign]


def note_synced(path: Path) -> None:
    """Append a log segment and its size on the disk, at each flush; a power cut may lose the rest."""
    notes = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    flush = LogWriter.flush

    def noted(self: LogWriter) -> None:
        size = self.size
        flush(self)
        os.write(notes, (json.dumps([str(self.segment), size]) + "\n").encode())

    LogWriter.flush = noted  # type: ignore[method-assign]


def plant(bug: str, folder: Path) -> None:
    """Add a bug to the ingest."""
    if bug == "journal ahead":  # points count as written before they are
        done = folder / "done"
        write, has = Target.write, LogIds.has

        def early(self: Target, points: Any, failures: Any) -> Any:
            with done.open("a") as file:
                file.writelines(f"{point.id}\n" for point in points)
            os.sync()
            return write(self, points, failures)

        stored = set(done.read_text().split()) if done.exists() else set()
        Target.write = early  # type: ignore[method-assign]
        LogIds.has = lambda self, name, *rest: name in stored or has(self, name, *rest)  # type: ignore[method-assign]
    elif bug == "random ids":
        cbir.pipeline.workers.point_id = lambda dataset, key: str(uuid.uuid4())  # type: ignore[attr-defined]
    elif bug == "kept in memory":  # written only at the end
        write = LogWriter._write
        waiting: list[tuple[LogWriter, Any]] = []
        LogWriter._write = lambda self, batch: waiting.append((self, batch))  # type: ignore[method-assign]
        close = LogWriter.close

        def late(self: LogWriter) -> None:
            for writer, batch in [item for item in waiting if item[0] is self]:
                write(writer, batch)
            close(self)

        LogWriter.close = late  # type: ignore[method-assign]


def witness() -> None:
    """Count, add a bug and send a signal, as the harness requests."""
    task = json.loads(os.environ["KILLED_INGEST"])
    folder = Path(task["folder"])
    count_embedded(folder / "embedded")
    count_stored(folder / "stored")
    note_synced(folder / "synced")
    plant(task["bug"], folder)
    if task["point"]:
        cbir.stores.embedded.build._without_main = nullcontext  # the processes that build engines run this, too
        watch(SignalPoint(**task["point"]), folder / "passed")


if __name__ in ("__main__", "__mp_main__"):  # the second in a process that builds an engine
    witness()
if __name__ == "__main__":
    # Tests that run in the background or under nohup ignore these, and a child inherits that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    command.main()
