"""`Collection`: images that are added, searched, changed and removed."""

import logging
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from cbir.errors import CbirError, UsageError
from cbir.images.inputs import ImageInput
from cbir.models.embedder import Embedder, load_embedder
from cbir.models.sealed import DEFAULT_MODEL
from cbir.pipeline.edit import Change, change_points
from cbir.pipeline.model_file import file_for_ingest
from cbir.pipeline.report import IngestReport
from cbir.pipeline.run import DEFAULT_POLICY, Interrupted, Policy, ingest
from cbir.pipeline.writers import Batch, Target, open_targets
from cbir.progress import Progress, silent
from cbir.reading import CollectionReader
from cbir.records import IDENTITY, LABEL, Payload, to_plain
from cbir.search.fields import checked_filter
from cbir.searching import FilterInput
from cbir.settings import Settings
from cbir.sources.base import ALL_IMAGES, Source, SourceOptions
from cbir.sources.memory import open_images
from cbir.sources.registry import open_source
from cbir.stores.base import Catalog

log = logging.getLogger(__name__)


class Collection(CollectionReader):
    """A collection of images in one or more stores. Safe to share between threads.

    `cbir.open` returns one. Every store gets what is added, changed or deleted; the first one is searched.

    Example:
        >>> with cbir.open("./index") as photos:
        ...     hits = photos.search("query.png", limit=3)
        >>> hits[0].key
        '1F600'
    """

    optimizes_aside = True
    """True if indexes are built again in a thread once there are many changes; False: before the change returns."""

    def __init__(
        self, catalogs: Sequence[Catalog], name: str | None, settings: Settings, model: str | Path | None = None
    ):
        """See `CollectionReader`."""
        super().__init__(catalogs, name, settings, model)
        self._changing = threading.RLock()
        self._optimizing: threading.Thread | None = None
        self._batch: Batch | None = None
        self._kept: Embedder | None = None

    def __enter__(self) -> "Collection":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def add(
        self,
        images: str | os.PathLike[str] | Source | Sequence[ImageInput],
        *,
        keys: Sequence[str] | None = None,
        payloads: Sequence[Payload] | None = None,
        options: SourceOptions = ALL_IMAGES,
        dataset: str | None = None,
        policy: Policy = DEFAULT_POLICY,
        progress: Progress = silent,
    ) -> IngestReport:
        """Embed, store and publish images. Images that are already stored are not embedded again.

        An interrupted run (Ctrl-C, a crash, a full disk) keeps what it stored, and the same call finishes it. Ctrl-C
        raises `KeyboardInterrupt` once that is safe. An image that cannot be used is skipped and named in the report.
        A collection holds one source: another is refused, unless `dataset` names the data set of both. Images of a
        list can always be added.

        Example:
            >>> new = cbir.open("./fresh", "few", create=True)
            >>> report = new.add(["query.png"], keys=["grin"], payloads=[{"label": "Smileys", "year": 2015}])
            >>> report.stored, new.count("year >= 2015")
            (1, 1)

        Args:
            images: A source (folder, Parquet or CSV file, s3://, hf://, sample://openmoji), or a list of paths, bytes,
                PIL images and uint8 arrays.
            keys: A unique name for each image of a list; by default its path, or the SHA-256 of its bytes.
            payloads: Fields to store with each image of a list; `label` is its class.
            options: How to read a source: label column, limit, filter of rows and others.
            dataset: Name of the data set; by default the collection's, or the source's.
            policy: What to do with copies, earlier failures and missing images.
            progress: Shows the progress; `cbir.terminal.progress` prints it.

        Raises:
            UsageError: There is no such source, or it does not fit the collection; nothing was changed.
            DiskFullError: A disk has no room; what was stored is kept.
            CbirError: The source or a store failed; what was stored is kept.
        """
        if is_source := isinstance(images, str | os.PathLike | Source):
            if keys is not None or payloads is not None:
                raise UsageError("keys and payloads go with a list of images; a source has its own")
            source = images if isinstance(images, Source) else open_source(os.fspath(images), options)
        elif options != ALL_IMAGES:
            raise UsageError("options go with a source; choose the images of a list yourself")
        else:
            source = open_images(images, keys, payloads, self._handle.name or "images")
        with self._changing:
            return self._add(source, not is_source, dataset, policy, progress)

    def _add(
        self, source: Source, is_list: bool, dataset: str | None, policy: Policy, progress: Progress
    ) -> IngestReport:
        name, catalogs = self._handle.name, self._open_catalogs()
        published = catalogs[0].plan(name) if name else None
        before = published or (self._batch.plan if self._batch else None)
        if is_list and before is not None:
            source = replace(source, origin=before.source)  # so that `sync` still accepts it
        if dataset is None and before is not None and source.origin == before.source:
            dataset = before.dataset
        opening = self._batch.open if self._batch else open_targets
        kept, self._kept = self._kept, None  # a run that fails may have stopped it
        if kept is None or (published and kept.sha256 != published.model.sha256):
            model = (
                self._model or (published and (self._handle.records().model() or published.model.name)) or DEFAULT_MODEL
            )
            whole = not is_list and source.only is None  # may take hours, and then needs the memory to build indexes
            file = file_for_ingest(model, self.settings, catalogs, name, dataset or source.name, policy.partial)
            kept = None if whole else load_embedder(file, self.settings, self.settings.threads)
        file = kept.path if kept else file
        report = ingest(source, catalogs, file, self.settings, name, dataset, policy, progress, opening, kept)
        if not report.interrupted or catalogs[0].plan(report.collection) is not None:  # a part may be published
            self._handle.name = report.collection
        if report.interrupted:
            raise Interrupted(report)
        self._kept = kept
        if not policy.dry_run:
            self._optimize_if_due(progress)
        return report

    def sync(
        self,
        source: str | os.PathLike[str] | Source,
        *,
        options: SourceOptions = ALL_IMAGES,
        dataset: str | None = None,
        policy: Policy = DEFAULT_POLICY,
        progress: Progress = silent,
    ) -> IngestReport:
        """Make the collection equal to a source: add what is new or changed, remove what is missing there.

        An image that the source has under another key only is renamed: it keeps its vector, and what `update` changed.
        It is refused if more than a fifth of the collection is missing, unless `policy.max_delete` allows more.
        `Policy(dry_run=True)` reports what would be removed and stored.

        Example:
            >>> few = cbir.open("./few", create=True)
            >>> few.add("./photos").stored
            6
            >>> import shutil
            >>> shutil.rmtree("./photos/food")
            >>> report = few.sync("./photos", policy=cbir.Policy(max_delete=0.5))
            >>> report.unchanged, report.removed
            (3, 3)

        Raises:
            UsageError: There is no such source, the collection was filled from another one, the options select only
                a part of it, or too much of the collection is missing there; nothing was changed.
            CbirError: As for `add`.
        """
        opened = source if isinstance(source, Source) else open_source(os.fspath(source), options)
        if not opened.complete:
            raise UsageError(
                "`sync` needs the whole source: no list on standard input, and no options that select only a part."
            )
        return self.add(opened, dataset=dataset, policy=replace(policy, remove_missing=True), progress=progress)

    def update(
        self,
        changes: Mapping[str, Any],
        *,
        ids: Sequence[str] = (),
        filter: FilterInput = None,
        progress: Progress = silent,
    ) -> int:
        """Set payload fields of some images, and return the number of images. None removes a field.

        Example:
            >>> photos.update({"seen": True}, ids=["1F600"])
            1
            >>> photos.count("seen=true")
            1

        Args:
            changes: The fields. A `label` is stored as text.
            ids: Ids or keys of images.
            filter: Further images: those that match it.
            progress: Shows the progress.

        Raises:
            UsageError: Neither ids nor a filter were given, or a field identifies the image.
            CbirError: A store failed, or is being filled; the state before is still served.
        """
        values: Payload = to_plain(changes)
        if not values:
            raise UsageError("say what to change: give the fields and their values")
        for name in IDENTITY:
            if name in values:
                raise UsageError(f"the field {name} cannot be changed: it identifies the image")
        if values.get(LABEL) is not None:
            values = {**values, LABEL: str(values[LABEL])}
        return self._change(ids, filter, progress, lambda target, chosen: target.writer.update(chosen, values))

    def delete(self, *, ids: Sequence[str] = (), filter: FilterInput = None, progress: Progress = silent) -> int:
        """Remove some images, and return their number.

        Example:
            >>> photos.delete(ids=["1F600"])
            1
            >>> photos.get("1F600") is None
            True

        Args:
            ids: Ids or keys of images.
            filter: Further images: those that match it.
            progress: Shows the progress.

        Raises:
            UsageError: Neither ids nor a filter were given.
            CbirError: A store failed, or is being filled; the state before is still served.
        """
        return self._change(ids, filter, progress, Target.delete)

    def _change(self, ids: Sequence[str], filter: FilterInput, progress: Progress, change: Change) -> int:
        with self._changing:
            records = self._handle.records()
            chosen, matching = self._ids(ids), checked_filter(filter, records)
            name, catalogs = self._handle.name, self._open_catalogs()
            opening = self._batch.open if self._batch else open_targets
            count = change_points(catalogs, name, chosen, matching, self.settings, progress, change, opening, records)
            self._optimize_if_due(progress)
            return count

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Publish the changes that the block makes together, when it ends: many small ones then cost as one.

        Each is on the disk when its call returns, but no search sees it before the end; a Qdrant server shows each at
        once. What was added in the block can be updated or deleted after it. If the block raises, what it changed so
        far is published.

        Example:
            >>> with photos.batch():
            ...     for number in range(3):
            ...         report = photos.add(["query.png"], keys=[f"copy {number}"])
            >>> photos.get("copy 2").key
            'copy 2'

        Raises:
            UsageError: The block is inside of another one.
            CbirError: A store failed, or is being filled by another process.
        """
        with self._changing:  # changes of other threads wait for the end
            if self._batch is not None:
                raise UsageError("a batch is open already: leave out the inner one")
            batch = self._batch = Batch()
            try:
                yield
            finally:
                self._batch = None
                batch.finish()
                if batch.plan is not None:
                    self._handle.name = batch.plan.collection
            if self._handle.name is not None:
                self._optimize_if_due(silent)

    def optimize(self, *, progress: Progress = silent) -> bool:
        """Build the indexes again with all changes that were made since, and return whether that was necessary.

        Changes are searched at once without it, and it is done by itself when there are many: in a thread, at a low
        priority. Others can search and change the collection meanwhile. Servers optimize themselves.

        Example:
            >>> photos.add(["query.png"], keys=["one more"]).stored
            1
            >>> photos.optimize(), photos.info.tail
            (True, 0)

        Raises:
            CbirError: Another process optimizes the collection, or an index cannot be built. Nothing was changed.
        """
        name = self.info.collection
        published = [catalog.optimize(name, progress) for catalog in self._open_catalogs()]
        if any(published):
            self._handle.renew()
        return any(published)

    def _optimize_if_due(self, progress: Progress) -> None:
        if self._batch is not None:
            return
        name, running = str(self._handle.name), self._optimizing
        due = [catalog for catalog in self._open_catalogs() if catalog.is_due(name)]
        if not self.optimizes_aside:
            optimize_all(due, name, progress)
        elif due and not (running and running.is_alive()):
            self._optimizing = threading.Thread(target=optimize_all, args=(due, name), daemon=True)
            self._optimizing.start()


def optimize_all(catalogs: Sequence[Catalog], name: str, progress: Progress = silent) -> None:
    """Build the indexes of a collection again in some stores. One that fails is served as it was, with a warning."""
    for catalog in catalogs:
        try:
            catalog.optimize(name, progress)
        except (CbirError, OSError) as error:  # what was changed is published all the same
            log.warning("warning: %s was not optimized: %s", name, error)
