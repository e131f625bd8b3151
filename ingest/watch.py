"""`cbir-ingest sync --watch`: keep a collection in step with a folder."""

import logging
from collections.abc import Callable
from pathlib import Path

from cbir.errors import CbirError, UsageError
from cbir.pipeline.report import IngestReport
from cbir.pipeline.run import stop_signals

log = logging.getLogger(__name__)

_QUIET_MILLISECONDS = 1000


def keep_in_step(folder: str, sync: Callable[[], IngestReport]) -> None:
    """Call `sync` at once, and again whenever something below `folder` changes, until a signal comes.

    A sync that fails, for instance because a server is down, is logged and tried again after the next change.

    Raises:
        UsageError: `folder` is not a folder.
    """
    import watchfiles

    if not Path(folder).expanduser().is_dir():
        raise UsageError(f"{folder} is not a folder. --watch works with folders only.")
    log.info("watching %s (stop with Ctrl-C)", folder)
    try:
        with stop_signals():
            first = True
            # `watch` yields an empty set after a second without changes. The first one starts the first sync: by then
            # the folder is watched, so that no change during the sync is missed.
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
                    log.error("%s (will try again after the next change)", error)
    except KeyboardInterrupt:
        return
