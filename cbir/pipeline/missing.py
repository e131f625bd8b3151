"""Stored images that the source no longer has, which `sync` removes."""

import hashlib
import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property, partial
from itertools import islice
from pathlib import PurePosixPath

from cbir.errors import ImageError, UsageError
from cbir.index.stored_ids import StoredIds
from cbir.pipeline.report import IngestReport
from cbir.pipeline.workers import Embedding, unbroken
from cbir.pipeline.writers import Target
from cbir.progress import Progress
from cbir.records import Item, id_bytes, point_id, to_plain
from cbir.sources.base import BadRow, Items, Source, is_below

_ROUNDING = 1e-9
_AT_ONCE = 100

log = logging.getLogger(__name__)


class SourceKeys:
    """The keys of a source. It is gone through once, when the first of them is asked for.

    Of a source that has only some files and folders, what is stored of others counts as neither known nor missing.

    `source` is the same source, and `bad_rows` the keys of the items it has yielded whose row cannot be read.
    """

    def __init__(self, source: Source, dataset: str):
        self.bad_rows: list[str] = []
        self.source = replace(source, items=Items(partial(_noted, source.items, self.bad_rows)))
        self._dataset = dataset

    @cached_property
    def ids(self) -> StoredIds:
        """The ids of the images."""
        items = unbroken(self.source.items)
        return StoredIds.of((id_bytes(point_id(self._dataset, item.key)), "", "") for item in items)

    def all_readable(self) -> bool:
        """Go through the source, and return True if every row of it can be read."""
        _ = self.ids
        return not self.bad_rows

    def has(self, key: str) -> bool:
        """Return True if the source has the key. What it was not compared with is taken to be there."""
        return not self.covers(key) or point_id(self._dataset, key) in self.ids

    def covers(self, key: str) -> bool:
        """Return True if the source's items tell whether it has the key."""
        only = self.source.only
        return self.source.complete and (only is None or is_below(key, only))

    def lacks(self, key: str) -> bool:
        """Return True if the source has no image with the key, nor an unlisted folder that it may be in.

        The source has a folder that could not be listed under the folder's name.
        """
        names = [key, *map(str, PurePosixPath(key).parents)]
        return self.covers(key) and not any(point_id(self._dataset, name) in self.ids for name in names)

    def missing(self, target: Target) -> dict[str, str]:
        """Return id -> key of the stored images that the source lacks."""
        stored, journal = target.writer.stored_ids, target.journal
        if self.source.only is None:
            found = journal.keys(stored.without(self.ids))
        else:
            ids = {point_id(self._dataset, key): key for key in self.source.only}
            found = {image_id: to_plain(key) for image_id, key in ids.items() if image_id in stored}
            folders = [key for image_id, key in ids.items() if image_id not in stored and image_id not in self.ids]
            found |= journal.keys_below(folders) if folders else {}
        return {image_id: key for image_id, key in found.items() if self.lacks(key)}


def _noted(items: Iterable[Item], bad_rows: list[str]) -> Iterator[Item]:
    """Yield the items, and add the keys of those whose row cannot be read to `bad_rows`."""
    for item in items:
        if isinstance(item.read, BadRow):
            bad_rows.append(item.key)
        yield item


def missing_in(targets: Sequence[Target], keys: SourceKeys) -> list[dict[str, str]]:
    """Return for each target the keys of the stored images that the source lacks, with their SHA-256s.

    Nothing is known to be missing if only a part of the source can be read. A SHA-256 that is not known is "".
    """
    if not keys.source.complete or not keys.all_readable():
        return [{} for _ in targets]
    return [_missing_in(target, keys) for target in targets]


def _missing_in(target: Target, keys: SourceKeys) -> dict[str, str]:
    return {key: target.journal.sha256_of(image_id) for image_id, key in keys.missing(target).items()}


def check_removal(
    target: Target,
    missing: Mapping[str, str],
    keys: SourceKeys,
    new_hashes: Callable[[], set[str]],
    max_delete: float,
    dry_run: bool,
) -> None:
    """Raise `UsageError` if more of the stored images are `missing` than may be removed; a dry run only warns.

    An image whose bytes the source has under another key is not lost. `new_hashes` returns the SHA-256s of the images
    that are not stored under their keys; it is called only if this decides.
    """
    count = len(target.writer.stored_ids)
    most = max_delete * count + _ROUNDING
    if len(missing) <= most:
        return
    hashes = Counter(missing.values())
    lost = {sha256 for sha256 in hashes if not sha256 or not any(map(keys.has, target.journal.keys_with(sha256)))}
    if sum(hashes[sha256] for sha256 in lost) > most:
        lost -= new_hashes()
    removed = sum(hashes[sha256] for sha256 in lost)
    if removed <= most:
        return
    refused = (
        f"sync would remove {removed:,} of {count:,} points from {target.writer.name}, more than"
        f" {max_delete:.0%}. Is {keys.source.origin} the right source, and complete? --dry-run lists the points, and"
        f" --max-delete {math.ceil(100 * removed / count)}% removes them."
    )
    if not dry_run:
        raise UsageError(refused)
    log.warning("warning: %s", refused)


def hashes_of_new(source: Source, embedding: Embedding, workers: int, progress: Progress) -> set[str]:
    """Read the images that are not stored with their keys and versions, and return their SHA-256s."""
    hashes = set[str]()
    fresh = (item for item in unbroken(source.items) if not _is_stored(item, embedding))
    with progress("reading new images", None) as advance, ThreadPoolExecutor(workers) as pool:
        while items := list(islice(fresh, _AT_ONCE)):
            hashes.update(pool.map(_sha256, items))
            advance(len(items))
    return hashes - {""}


def _is_stored(item: Item, embedding: Embedding) -> bool:
    return embedding.is_stored(point_id(embedding.dataset, item.key), item.version, None)


def _sha256(item: Item) -> str:
    """Return the SHA-256 of an image file, "" if it cannot be read."""
    try:
        return hashlib.sha256(item.read()).hexdigest()
    except (ImageError, OSError):
        return ""


def note_missing(targets: Sequence[Target], keys: SourceKeys, remove: bool, report: IngestReport) -> None:
    """Count stored images that the source no longer has, and remove them if asked, unless it is a dry run.

    An image below a folder that could not be listed is not missing.
    """
    unlisted = tuple("" if failure["key"] == "." else f"{failure['key']}/" for failure in report.failures)
    renamed = {rename["old_key"] for rename in report.renames}
    for target in targets:
        if keys.source.only is not None:
            unmarked = {image_id: key for image_id, key in keys.missing(target).items() if key not in renamed}
        elif remove or unlisted:
            unmarked = target.journal.keys(target.writer.stored_ids.unmarked())
        else:  # only their number is needed
            report.missing = max(report.missing, target.writer.stored_ids.count_unmarked())
            continue
        missing = {image_id: key for image_id, key in unmarked.items() if not key.startswith(unlisted)}
        report.missing = max(report.missing, len(missing))
        if remove and missing:
            if not report.dry_run:
                target.delete(list(missing))
            report.removed = max(report.removed, len(missing))
            report.removed_keys = sorted({*report.removed_keys, *missing.values()})
