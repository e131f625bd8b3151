"""`cbir-ingest sync --watch`: a collection kept in step with a folder."""

import logging
from collections.abc import Callable
from pathlib import Path

from cbir.errors import CbirError, UsageError
from cbir.pipeline.report import IngestReport
from cbir.pipeline.run import stop_signals

log = logging.getLogger(__name__)

_QUIET_MILLISECONDS = 1000


def keep_in_step(folder: str, sync: Callable[[], IngestReport]) -> None:
    """Call `sync` at once and then whenever something below `folder` has changed, until a signal ends it.

    A sync that fails (a disk that is full, a server that is away) is told and tried again with the next change.

    Raises:
        UsageError: It is not a folder.
    """
    import watchfiles

    if not Path(folder).expanduser().is_dir():
        raise UsageError(f"{folder} is not a folder; --watch is for folders")
    log.info("watching %s; Ctrl-C ends it", folder)
    try:
        with stop_signals():
            first = True
            # An empty round comes when nothing happened for a second: the first one starts the first sync, which so
            # misses nothing that changes while it looks.
            for changes in watchfiles.watch(
                Path(folder).expanduser(),
                debounce=10 * _QUIET_MILLISECONDS,
                step=_QUIET_MILLISECONDS,
                rust_timeout=_QUIET_MILLISECONDS,
                yield_on_timeout=True,
                watch_filter=None,
            ):
                if not changes and not first:
                    continue
                first = False
                try:
                    if sync().interrupted:
                        return
                except CbirError as error:
                    log.error("%s; tried again with the next change", error)
    except KeyboardInterrupt:
        return
