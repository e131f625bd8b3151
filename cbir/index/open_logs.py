"""The logs of an index folder's collections: opened once, then followed from change to change."""

from dataclasses import dataclass
from pathlib import Path

from cbir.index.generation import Generation, with_published
from cbir.index.live_log import LiveLog


@dataclass(frozen=True)
class OpenLog:
    """The log of a collection. `base` is the generation that the engines of `log.base` are in.

    `latest` is the published generation whose points `log` has. It is not `base` if the tail was merged meanwhile.
    `names` are the segments of the tail.
    """

    base: Generation
    latest: Generation
    log: LiveLog
    names: tuple[str, ...]

    @property
    def is_behind(self) -> bool:
        """True if there is a newer generation, which has more of the points in its engines."""
        return self.base.folder != self.latest.folder


class OpenLogs:
    """The opened logs of an index folder by collection. Safe to share between threads."""

    def __init__(self, root: Path):
        self._root = root
        self._opened: dict[str, OpenLog] = {}

    def get(self, name: str, *, current: bool = False) -> OpenLog:
        """Return the log of the published points. A log that was opened before is followed.

        If it is to be `current`, it is opened again if there is a newer generation. The checksums of frames are
        compared, those of the generation's files are not.
        """

        def use(generation: Generation) -> OpenLog:
            before = self._opened.get(name)
            opened = follow(before, generation) if before else None
            if opened is None or (current and opened.is_behind):
                opened = OpenLog(generation, generation, generation.log(checked=False), tuple(generation.tail))
            return opened

        opened = self._opened[name] = with_published(self._root, name, use)
        return opened

    def forget(self, name: str) -> None:
        """Let the log of a collection be closed once nobody reads it any more."""
        self._opened.pop(name, None)


def follow(before: OpenLog, now: Generation) -> OpenLog | None:
    """Return the log as it is now, in time that depends on the change alone; None if it has to be opened again."""
    seen = before.latest
    if seen == now:
        return before
    other = any(seen.tail[name] != now.tail[name] for name in seen.tail.keys() & now.tail.keys())
    if now.commit < seen.commit or other:  # the folder was restored from a backup
        return None
    merged: tuple[str, ...] = ()
    if now.manifest != seen.manifest:
        if now.folder == seen.folder or now.manifest.merged_from != seen.folder.name:
            return None  # another one of the same name, or one with other points
        merged = now.manifest.merged
        needed = {*seen.log_names, *merged}
        if not set(merged) <= set(before.names) and not needed <= set(now.log_names):
            return None
    fresh = [name for name in (*merged, *now.tail) if name not in before.names]
    log = before.log.followed_by(now.tail_segments(fresh)) if fresh else before.log
    return OpenLog(before.base, now, log, (*before.names, *fresh))
