"""Snapshots: a collection of any store in one file, which any store can restore.

The file is a tar archive with the layout of a generation without its indexes: the model that made the vectors, the
vector log with all points, and the manifest with the checksums of both. Indexes are built where it is restored.
"""

import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path, PurePosixPath

from cbir import terminal
from cbir.errors import DamageError, UsageError
from cbir.index import layout
from cbir.index.disk import report_full_disk
from cbir.index.generation import Generation, Manifest, Plan
from cbir.index.json_file import load, save
from cbir.index.log_format import segment_path
from cbir.index.log_writer import LogWriter
from cbir.index.names import check_collection
from cbir.index.publishing import manifest_of
from cbir.index.vector_log import VectorLog
from cbir.models.sealed import TEXT_MODEL, checksum_of, read_sealed
from cbir.models.text_tower import keep_text_tower
from cbir.settings import Settings
from cbir.stores.base import Contents
from cbir.stores.registry import connect_all

from .transfer import BATCH, fill, model_file

_FILES = (layout.MANIFEST, layout.MODEL, TEXT_MODEL)
_INSIDE = (*_FILES, layout.LOG)


def snapshot(contents: Contents, target: Path, model: Path | None = None) -> int:
    """Write a collection into the file `target`; return the number of points.

    `model` is the file of the model that made the vectors. It is needed if the store keeps none and it is not packaged.

    Raises:
        UsageError: The file exists already, or there is no file of the model that made the vectors.
    """
    if target.exists():
        raise UsageError(f"{target} exists already. Name another file.")
    plan = contents.plan
    with report_full_disk(), _work_folder(target.resolve().parent) as work:
        folder = Path(work)
        own_model = model_file(plan.model, contents.model, model)
        shutil.copyfile(own_model, folder / layout.MODEL)
        keep_text_tower(own_model, folder)
        writer = LogWriter(segment_path(folder / layout.LOG, 1), plan.model.dimension)
        with terminal.progress("writing", contents.count, "points") as advance:
            stream = contents.points()
            while points := list(islice(stream, BATCH)):
                writer.append(points)
                advance(len(points))
        writer.close()
        log = VectorLog(folder / layout.LOG, plan.model.dimension)
        manifest = manifest_of(folder, replace(plan, engines={}), log)
        save(folder / layout.MANIFEST, manifest)
        unfinished = folder / "snapshot.tar"
        with tarfile.open(unfinished, "x") as tar:
            for name in _INSIDE:
                if (folder / name).exists():
                    tar.add(folder / name, name)
        unfinished.rename(target)
        return len(log)


def restore(file: Path, stores: Sequence[str], collection: str | None, settings: Settings) -> tuple[str, int]:
    """Store and publish the points of a snapshot; return the collection's name and the number of points.

    If it is interrupted, what was stored is kept, and the same call continues.

    Raises:
        UsageError: The file is no snapshot, or a store has a different collection of that name.
        DamageError: The file is damaged; nothing was stored.
        CbirError: A store failed or refused points; nothing was published there.
    """
    if not file.is_file():
        raise UsageError(f"{file} does not exist, or is not a file")
    with report_full_disk(), _work_folder(file.resolve().parent) as work:
        folder = Path(work)
        _extract(file, folder)
        generation = Generation(folder, load(folder / layout.MANIFEST, Manifest))
        for damage in generation.damage():
            raise DamageError(f"{file}: {damage.path.relative_to(folder)} is damaged: {damage.what}")
        log, manifest = generation.log(), generation.manifest
        if checksum_of(read_sealed(folder / layout.MODEL)) != manifest.model.sha256:
            raise DamageError(f"{file}: its vectors were made with another model than the one in it")
        plan = Plan(collection or manifest.collection, manifest.dataset, manifest.source, manifest.model, None)
        check_collection(plan.collection)
        catalogs = connect_all(stores, settings)
        done = fill(plan, log.points, len(log), folder / layout.MODEL, catalogs, settings, "restoring")
        return done.collection, done.points


def _work_folder(parent: Path) -> tempfile.TemporaryDirectory[str]:
    """Return a temporary folder on the disk of the snapshot."""
    try:
        return tempfile.TemporaryDirectory(prefix=".cbir-snapshot-", dir=parent, ignore_cleanup_errors=True)
    except OSError as error:
        raise UsageError(f"{parent}: {error.strerror}. A snapshot needs a temporary folder there.") from None


def _extract(file: Path, folder: Path) -> None:
    """Extract the files that a snapshot may hold, and no others: the names in a tar file are not to be trusted."""
    try:
        with tarfile.open(file, "r:") as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                in_log = len(path.parts) == 2 and path.parts[0] == layout.LOG and path.suffix == ".log"
                if in_log or member.name in _FILES:
                    tar.extract(member, folder, filter="data")
    except (OSError, tarfile.TarError) as error:
        if isinstance(error, OSError) and error.filename is None and error.errno is not None:
            raise
        raise UsageError(f"{file} is not a snapshot that can be read: {error}") from None
    if not (folder / layout.MANIFEST).is_file() or not (folder / layout.MODEL).is_file():
        raise UsageError(f"{file} is not a snapshot of cbir. `cbir-ingest collections snapshot` makes one.")
