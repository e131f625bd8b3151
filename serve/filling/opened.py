"""Collections that clients fill with vectors of their own, through `cbir+https`.

Each request says what it fills, and what it wrote is on the disk when it is answered. A collection stays open between
the requests of a client, which saves time. Where it does not, because the client paused, the server was stopped or
another process answers, the next request opens it again, as the next run of an interrupted ingest does.
"""

import asyncio
import logging
from asyncio import TimerHandle
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from starlette.exceptions import HTTPException

from cbir.index.compatible import require_same
from cbir.index.disk import report_full_disk
from cbir.index.generation import Plan
from cbir.pipeline.writers import Target, open_targets
from cbir.stores.base import Catalog
from cbir.text import one_line, redacted

from ..settings import ServeSettings
from .model_files import ModelFiles

IDLE_SECONDS = 2.0
"""How long a collection stays open for the next request. Nobody else can change it until then."""

PUBLISH_SECONDS = 20.0
"""How long a client waits for one answer while a collection is published. Then it asks again."""

Result = TypeVar("Result")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Filling:
    """What a request fills. `same_source` is that of `Catalog.writer`."""

    plan: Plan
    same_source: bool = False


class _Opened:
    """The targets of one collection. They belong to one thread: SQLite demands it, and changes wait for each other."""

    def __init__(self, catalogs: Sequence[Catalog], models: ModelFiles, max_megapixels: float):
        self.thread = ThreadPoolExecutor(1, "cbir-fill")
        self.timer: TimerHandle | None = None
        self.publishing: tuple[str, asyncio.Task[None]] | None = None
        self._catalogs, self._models, self._max_megapixels = catalogs, models, max_megapixels
        self._stack = ExitStack()
        self._targets: list[Target] = []
        self._plan: Plan | None = None

    def run(self, filling: Filling, function: Callable[[list[Target]], Result]) -> Result:
        """Return what a function does with the targets, which are opened first. After an error they are closed."""
        try:
            with report_full_disk():
                if self._plan is None:
                    self._open(filling)
                else:
                    require_same(self._plan, filling.plan, filling.plan.collection, filling.same_source)
                return function(self._targets)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the targets. Nothing that was written is lost."""
        stack, self._stack, self._targets, self._plan = self._stack, ExitStack(), [], None
        stack.close()

    def _open(self, filling: Filling) -> None:
        plan = filling.plan
        file = self._models.find(plan.model)
        if file is None and any(catalog.keeps_model for catalog in self._catalogs):
            raise HTTPException(409, f"this server has no file of the model {plan.model.described}")
        opening = open_targets(self._catalogs, plan, file or Path(), self._max_megapixels, filling.same_source)
        self._targets = self._stack.enter_context(opening)
        self._plan = plan


class Fillings:
    """Opens the collections that clients fill."""

    def __init__(self, catalogs: Sequence[Catalog], models: ModelFiles, settings: ServeSettings):
        self._catalogs, self._models, self._settings = catalogs, models, settings
        self._opened: dict[str, _Opened] = {}

    async def run(self, filling: Filling, function: Callable[[list[Target]], Result]) -> Result:
        """Return what a function does with the targets of a collection, in the collection's thread."""
        opened, loop = self._of(filling.plan.collection), asyncio.get_running_loop()
        _cancel(opened)
        try:
            return await asyncio.wrap_future(opened.thread.submit(opened.run, filling, function))
        finally:
            _cancel(opened)
            opened.timer = loop.call_later(IDLE_SECONDS, opened.thread.submit, opened.close)

    async def publish(self, filling: Filling, attempt: str, publish: Callable[[list[Target]], None]) -> bool:
        """Publish a collection in the background, and return whether that is done. The same `attempt` may ask again."""
        opened = self._of(filling.plan.collection)
        if opened.publishing is None or opened.publishing[0] != attempt:
            opened.publishing = attempt, asyncio.create_task(self.run(filling, publish))
            opened.publishing[1].add_done_callback(_report)
        _, task = opened.publishing
        await asyncio.wait({task}, timeout=PUBLISH_SECONDS)
        if task.done() and task.exception() is not None:
            opened.publishing = None  # the next request tries again
            task.result()
        return task.done()

    async def release(self, collection: str) -> None:
        """Close the targets of a collection, so that others can change it."""
        if opened := self._opened.get(collection):
            _cancel(opened)
            await asyncio.wrap_future(opened.thread.submit(opened.close))

    def close(self) -> None:
        """Finish what runs, and close all targets."""
        for opened in self._opened.values():
            _cancel(opened)
            opened.thread.submit(opened.close)
            opened.thread.shutdown()

    def _of(self, collection: str) -> _Opened:
        if collection not in self._opened:
            self._opened[collection] = _Opened(self._catalogs, self._models, self._settings.max_image_megapixels)
        return self._opened[collection]


def _cancel(opened: _Opened) -> None:
    if opened.timer is not None:
        opened.timer.cancel()


def _report(task: asyncio.Task[None]) -> None:
    """Log why a collection could not be published: its client may not ask again."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("warning: a collection was not published: %s", redacted(one_line(error)))
