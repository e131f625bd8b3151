"""Vectors of a whole labelled source, for measuring and training. A file keeps them for the next run."""

import hashlib
import io
import logging
import zipfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from cbir.errors import ImageError, UsageError
from cbir.index.files import write_atomically
from cbir.models.embedder import Embedder
from cbir.models.runtime import cores
from cbir.progress import Progress, silent
from cbir.records import Item, Vector, to_plain
from cbir.settings import Settings
from cbir.sources.base import SourceOptions
from cbir.sources.registry import open_source

log = logging.getLogger(__name__)
_BATCH = 8
_UNUSABLE = b""


@dataclass(frozen=True)
class Labelled:
    """The unit vectors (N, D) of a data set, with the class, the SHA-256 and the key of each image."""

    name: str
    vectors: Vector
    labels: list[str]
    digests: list[bytes]
    keys: list[str]


def open_labelled(text: str, options: SourceOptions) -> tuple[str, list[Item]]:
    """Return a source's name and its items that have a label. A source without labels is a `UsageError`."""
    source = open_source(text, options)
    items = [item for item in source.items if item.label is not None]
    if not items:
        raise UsageError(f"{text} has no labels. Name the column of the classes with the option `label`.")
    return source.name, items


def embed_labelled(
    name: str,
    items: Sequence[Item],
    embedder: Embedder,
    settings: Settings,
    digests_by_key: Mapping[str, bytes] = MappingProxyType({}),
    progress: Progress = silent,
) -> Labelled:
    """Return the vectors of the items in order. Images that cannot be used are left out and counted in a warning.

    Vectors that this model made before come from the cache, by the SHA-256 of the file. With `digests_by_key`, of files
    that were read before, a file in the cache is not read again. The embedder should have one thread, since several
    images are embedded at the same time.

    Raises:
        UsageError: No image can be used.
    """
    cache = settings.cache / "embeddings" / f"{embedder.sha256}-{embedder.device}.npz"
    stored = _load(cache)
    fresh: dict[bytes, Vector] = {}

    def embed(batch: Sequence[Item]) -> list[bytes]:
        """Embed what is not stored, and return the SHA-256 of each file."""
        digests: list[bytes] = []
        pixels = {}
        for item in batch:
            digest = digests_by_key.get(item.key, _UNUSABLE)
            if digest not in stored:
                try:
                    data = item.read()
                    digest = hashlib.sha256(data).digest()
                    if digest not in stored and digest not in fresh:
                        pixels[digest] = embedder.pixels(embedder.decode(data, settings.max_image_megapixels))
                except (ImageError, OSError):
                    digest = _UNUSABLE
            digests.append(digest)
        if pixels:
            fresh.update(zip(pixels, embedder.run(np.stack(list(pixels.values()))), strict=True))
        return digests

    batches = [items[start : start + _BATCH] for start in range(0, len(items), _BATCH)]
    digests: list[bytes] = []
    try:
        with (
            ThreadPoolExecutor(settings.workers or cores()) as pool,
            progress(f"embedding {name}", len(items)) as advance,
        ):
            for part in pool.map(embed, batches):
                digests += part
                advance(len(part))
    finally:
        stored |= fresh
        if fresh:
            _save(cache, stored)
    finite = {digest for digest in digests if digest in stored and np.isfinite(stored[digest]).all()}
    kept = [(digest, item) for digest, item in zip(digests, items, strict=True) if digest in finite]
    unusable = [to_plain(item.key) for digest, item in zip(digests, items, strict=True) if digest not in finite]
    if not kept:
        raise UsageError(f"{name}: none of its {len(items)} images can be used, such as {unusable[0]}")
    if unusable:
        count = f"{len(unusable):,}"
        log.warning("%s: %s images cannot be used and are left out, such as %s", name, count, unusable[0])
    return Labelled(
        name,
        np.stack([stored[digest] for digest, _ in kept]),
        [str(item.label) for _, item in kept],
        [digest for digest, _ in kept],
        [item.key for _, item in kept],
    )


def _load(path: Path) -> dict[bytes, Vector]:
    """Return the vectors in a cache file by SHA-256; none if the file is missing or damaged."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            return {bytes(digest): vector for digest, vector in zip(kept["digests"], kept["vectors"], strict=True)}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return {}


def _save(path: Path, vectors: dict[bytes, Vector]) -> None:
    digests = np.frombuffer(b"".join(vectors), np.uint8).reshape(-1, 32)
    data = io.BytesIO()
    np.savez(data, digests=digests, vectors=np.stack(list(vectors.values())))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data.getvalue())
    except OSError as error:
        log.warning("the vectors cannot be kept for the next run: %s: %s", path.parent, error.strerror)
