"""Builds an engine in a child process while the vector log is still being written, so that less is left at the end."""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path

from cbir.errors import CbirError
from cbir.index.log_follower import LogFollower
from cbir.index.log_format import fixed_bytes
from cbir.index.vector_log import VectorLog
from cbir.stores.embedded.build import Child, build_engine, check
from cbir.stores.engines import ENGINES

_POLL_SECONDS = 0.5
_NICENESS = 5
_MEMORY_SHARE = 4


class GrowingBuild:
    """One engine that is built in `folder` from a vector log that is written meanwhile to the folders `logs`.

    If this process is killed, the child process ends, and the folder is of no use.
    """

    def __init__(self, kind: str, folder: Path, logs: Sequence[Path], dimension: int, options: Mapping[str, str]):
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._kind, self._folder, self._dimension, self._options = kind, folder, dimension, dict(options)
        self._child = Child(kind, folder, _grow, logs, dimension, self._options)

    def finish(self, folder: Path, log: Path, advance: Callable[[int], None]) -> float | None:
        """Complete the index of the log in the folder `log`, and move it to `folder`; as `build_engine`.

        It is built anew if a point was replaced or deleted, if a segment was removed before it was read, if the child
        process was killed, or if the index has to be trained with all points.
        """
        self._child.tell(log)
        try:
            recall = self._child.result(advance)
        except CbirError:
            self.stop()
            return build_engine(self._kind, folder, log, self._dimension, self._options, advance)
        self._folder.rename(folder)
        return recall

    def stop(self) -> None:
        """End the build and remove its folder."""
        self._child.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


def _grow(
    connection: Connection, kind: str, folder: Path, logs: Sequence[Path], dimension: int, options: dict[str, str]
) -> float | None:
    os.nice(_NICENESS)
    engine = ENGINES[kind].load()
    growth = engine.grow(folder, dimension, options) if hasattr(engine, "grow") else None
    if growth is None:
        raise CbirError(f"a {kind} index with these options cannot grow")
    ids, finishing = bytearray(), False
    with closing(LogFollower(logs, dimension)) as follower:
        while not finishing:
            finishing = connection.poll(_POLL_SECONDS)  # the rest is read once more after that
            for batch in follower.batches():
                growth.add(batch)
                ids += fixed_bytes(batch.column(0), 16)
                _require_memory(len(ids) // 16 * dimension * 4)
    log = VectorLog(connection.recv(), dimension)
    if ids != log.ids.tobytes():
        raise CbirError("points were replaced or deleted meanwhile")
    connection.send(len(log))
    growth.finish(log)
    return check(kind, folder, log, options)


def _require_memory(size: int) -> None:
    """Raise `CbirError` if vectors of this size take too much of the memory to be kept while images are embedded."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if size > memory / _MEMORY_SHARE:
        raise CbirError(f"the vectors take more than 1/{_MEMORY_SHARE} of the memory")
