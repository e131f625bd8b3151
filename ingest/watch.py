"""`cbir-ingest sync --watch`: keep a collection in step with a folder."""

import logging
import os
import time
from collections.abc import Callable, Iterator, Set
from pathlib import Path

import watchfiles

from cbir.errors import CbirError, UsageError
from cbir.images.decode import EXTENSIONS
from cbir.pipeline.report import IngestReport
from cbir.pipeline.run import stop_signals

log = logging.getLogger(__name__)

Changed = frozenset[str] | None
"""Files and folders that changed, by their paths below the watched folder; None: any of them may have."""

_QUIET_MILLISECONDS = 300
_LONGEST_MILLISECONDS = 2000
_POLL_MILLISECONDS = 2000
_WHOLE_SECONDS = 3600.0
_RETRY_SECONDS = 60.0
_MOST_CHANGES = 4000
"""A quarter of the changes that Linux keeps. When there are more, some may be lost."""


def keep_in_step(folder: str, sync: Callable[[Changed], IngestReport]) -> None:
    """Call `sync` with None at once, then with what changes below `folder`, until a signal comes.

    It is called with None again each hour, after a failure, and when it is not known what changed.

    Raises:
        UsageError: `folder` is not a folder, or the first call of `sync` is a misuse.
    """
    root = Path(folder).expanduser().resolve()
    if not root.is_dir():
        raise UsageError(f"{folder} is not a folder. --watch works with folders only.")
    next_whole, failed, synced = 0.0, True, False
    try:
        with stop_signals():
            for changed in _changes(root):
                late = time.monotonic() >= next_whole
                if changed is not None and not changed and not late:
                    continue
                whole = changed is None or late or failed
                try:
                    if sync(None if whole else changed).interrupted:
                        return
                    failed, synced = False, True
                    wait = _WHOLE_SECONDS
                except CbirError as error:
                    if isinstance(error, UsageError) and not synced:
                        raise
                    log.error("%s (will try again in a minute, or after the next change)", error)
                    failed, wait = True, _RETRY_SECONDS
                if whole or failed:
                    next_whole = time.monotonic() + wait
    except KeyboardInterrupt:
        return


def _changes(root: Path) -> Iterator[Changed]:
    """Yield what changed, at least once a second. The first time, the folder is watched already."""
    polls = os.environ.get("WATCHFILES_FORCE_POLLING", "").lower() not in ("", "false", "disable", "disabled")
    closed = False  # True hides other errors, too
    while True:
        watched, started = _identity(root), False
        try:
            for changes in watchfiles.watch(
                root,
                debounce=_LONGEST_MILLISECONDS,
                step=_QUIET_MILLISECONDS,
                rust_timeout=1000,
                yield_on_timeout=True,
                watch_filter=None,
                force_polling=polls or None,
                poll_delay_ms=_POLL_MILLISECONDS,
                ignore_permission_denied=closed or polls,
            ):
                if not started:
                    how = "by polling" if polls else "by notifications of the system"
                    log.info("watching %s %s (stop with Ctrl-C)", root, how)
                if _identity(root) != watched:
                    log.info("watching %s again: it was removed, replaced, mounted or unmounted", root)
                    break
                yield _keys(root, changes, polls) if started else None
                started = True
        except (OSError, RuntimeError) as error:  # the second is an error of the library, such as a name it cannot read
            if started or _identity(root) != watched or watched is None:
                log.info("watching %s again: %s", root, error)
            elif isinstance(error, PermissionError) and not closed:
                closed = True
            elif polls:
                log.warning("warning: %s cannot be polled, so all of it is synced each minute: %s", root, error)
                while True:
                    yield None
                    time.sleep(_RETRY_SECONDS)
            else:
                log.warning("warning: the system cannot watch %s, so it is polled: %s", root, error)
                polls = True
        while _identity(root) is None:
            time.sleep(1)


def _identity(root: Path) -> tuple[int, int] | None:
    try:
        status = root.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _keys(root: Path, changes: Set[tuple[watchfiles.Change, str]], polls: bool) -> Changed:
    """Return the paths below the root that may be images or folders; None if there are too many."""
    keys = {path.removeprefix(f"{root}/") for change, path in changes if _matters(path, change, polls)}
    if str(root) in keys or len(keys) > _MOST_CHANGES:
        return None
    return frozenset(key for key in keys if not any(part.startswith(".") for part in key.split("/")))


def _matters(path: str, change: watchfiles.Change, polls: bool) -> bool:
    """Return False for files that are no images. When polling, a folder changes with what is in it."""
    file = Path(path)
    if file.is_dir():
        return not (polls and change == watchfiles.Change.modified)
    return file.suffix.lower() in EXTENSIONS or not file.exists()
