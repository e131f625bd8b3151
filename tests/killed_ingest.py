"""`cbir-ingest` with a witness: says on a pipe which phase begins, and counts what was embedded and made durable.

    python -m tests.killed_ingest PHASES_FD EMBEDDED_FILE SYNCED_FILE PLANTED_BUG ARGUMENTS...

Run by `tests.killing`, which kills it. The bugs that can be planted are those that the harness has to find.
"""

import json
import os
import sys
import uuid
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import cbir.ingest.builder
import cbir.ingest.engines
import cbir.ingest.pipeline
from cbir.ingest import command
from cbir.ingest.sinks import Target

import cbir.generation
from cbir.known import Known
from cbir.model import Embedder
from cbir.vector_log import LogWriter

PHASES = {
    "decode": [(Embedder, "decode")],
    "embed": [(Embedder, "run")],
    "upsert": [(Target, "write")],
    "flush": [(Target, "flush"), (LogWriter, "flush")],
    "optimise": [(cbir.ingest.builder, "build_engine")],
    "publish": [
        (cbir.ingest.builder, "regroup"),
        (cbir.generation, "record_of"),
        (cbir.ingest.builder, "save"),
        (cbir.ingest.builder.IndexBuilder, "_point_to"),
        (cbir.ingest.builder.IndexBuilder, "_remove_older_than"),
    ],
}


def tell_phases(pipe: int) -> None:
    """Write a phase's name to the pipe whenever one of its functions is called."""

    def told(phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def wrapper(*arguments: Any, **named: Any) -> Any:
            os.write(pipe, f"{phase}\n".encode())
            return function(*arguments, **named)

        return wrapper

    for phase, functions in PHASES.items():
        for owner, name in functions:
            setattr(owner, name, told(phase, getattr(owner, name)))


def count_embedded(path: str) -> None:
    """Append the number of pictures whenever the model has run."""
    counter = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    run = Embedder.run

    def counted(self: Embedder, pixels: Any) -> Any:
        vectors = run(self, pixels)
        os.write(counter, f"{len(pixels)}\n".encode())
        return vectors

    Embedder.run = counted  # type: ignore[method-assign]


def note_synced(path: str) -> None:
    """Append a log segment and how much of it is on the disk, at each flush; the rest may go with the power."""
    notes = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    flush = LogWriter.flush

    def noted(self: LogWriter) -> None:
        size = self.size
        flush(self)
        os.write(notes, (json.dumps([str(self.segment), size]) + "\n").encode())

    LogWriter.flush = noted  # type: ignore[method-assign]


def plant(bug: str) -> None:
    """Make the ingest wrong in one of the ways that a journal or an index can be wrong."""
    if bug == "journal ahead":  # what is about to be written counts as written
        done = Path(os.environ["BUG_FOLDER"]) / "done"
        write, has = Target.write, Known.has

        def early(self: Target, points: Any, failures: Any) -> Any:
            with done.open("a") as file:
                file.writelines(f"{point.id}\n" for point in points)
            os.sync()
            return write(self, points, failures)

        known = set(done.read_text().split()) if done.exists() else set()
        Target.write = early  # type: ignore[method-assign]
        Known.has = lambda self, one, *rest: one in known or has(self, one, *rest)  # type: ignore[method-assign]
    elif bug == "random ids":
        cbir.ingest.pipeline.point_id = lambda dataset, key: str(uuid.uuid4())  # type: ignore[attr-defined]
    elif bug == "kept in memory":  # written out at the end alone
        write = LogWriter._write
        waiting: list[tuple[LogWriter, Any]] = []
        LogWriter._write = lambda self, batch: waiting.append((self, batch))  # type: ignore[method-assign]
        close = LogWriter.close

        def late(self: LogWriter) -> None:
            for writer, batch in [one for one in waiting if one[0] is self]:
                write(writer, batch)
            close(self)

        LogWriter.close = late  # type: ignore[method-assign]


def main() -> None:
    """Run the command line with the witness."""
    pipe, embedded, synced, bug, *arguments = sys.argv[1:]
    count_embedded(embedded)
    note_synced(synced)
    plant(bug)
    tell_phases(int(pipe))
    sys.argv = ["cbir-ingest", *arguments]
    command.main()


if __name__ == "__main__":
    main()
