"""Vectors of a whole source, for measuring and training; kept by model and picture, so that the next run is instant."""

import hashlib
import logging
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cbir.errors import ImageError, UsageError
from cbir.models.embedder import Embedder
from cbir.models.runtime import cores
from cbir.progress import Progress, silent
from cbir.records import Item, Vector
from cbir.settings import Settings
from cbir.sources.base import SourceOptions
from cbir.sources.registry import open_source

log = logging.getLogger(__name__)
_BATCH = 8
_NO_PICTURE = b""


@dataclass(frozen=True)
class Labelled:
    """Pictures with their classes.

    Attributes:
        name: Of the data set.
        vectors: Unit vectors, float32 (N, D).
        labels: N classes.
        digests: SHA-256 of each file.
        keys: The pictures' names.
    """

    name: str
    vectors: Vector
    labels: list[str]
    digests: list[bytes]
    keys: list[str]


def open_labelled(text: str, options: SourceOptions) -> tuple[str, list[Item]]:
    """Return a source's name and its items that have a label.

    Raises:
        UsageError: There is no such source, or it has no labels.
    """
    source = open_source(text, options)
    items = [item for item in source.items if item.label is not None]
    if not items:
        raise UsageError(f"{text} has no labels; name their column with --label")
    return source.name, items


def embed_labelled(
    name: str,
    items: Sequence[Item],
    embedder: Embedder,
    settings: Settings,
    digests_by_key: Mapping[str, bytes] | None = None,
    progress: Progress = silent,
) -> Labelled:
    """Return the vectors of the items that can be decoded, in order; the others are counted in one log line.

    What was embedded before by this very model file is taken from the cache, by the pictures' SHA-256. `embedder`
    should have one thread, since several pictures are embedded at once. With `digests_by_key`, of another model's
    `Labelled`, a picture that is in the cache is not read again.
    """
    read_before = digests_by_key or {}
    cache = settings.cache / "embeddings" / f"{embedder.sha256}-{embedder.provider}.npz"
    known = _load(cache)
    workers = settings.workers or cores()
    fresh: dict[bytes, Vector] = {}

    def embed(chunk: Sequence[Item]) -> list[bytes]:
        digests: list[bytes] = []
        pixels = {}
        for item in chunk:
            if (before := read_before.get(item.key, _NO_PICTURE)) in known:
                digests.append(before)
                continue
            try:
                data = item.read()
                digest = hashlib.sha256(data).digest()
                if digest not in known and digest not in fresh:
                    pixels[digest] = embedder.pixels(embedder.decode(data, settings.max_image_megapixels))
                digests.append(digest)
            except (ImageError, OSError):
                digests.append(_NO_PICTURE)
        if pixels:
            fresh.update(zip(pixels, embedder.run(np.stack(list(pixels.values()))), strict=True))
        return digests

    chunks = [items[start : start + _BATCH] for start in range(0, len(items), _BATCH)]
    digests: list[bytes] = []
    try:
        with ThreadPoolExecutor(workers) as pool, progress(f"embedding {name}", len(items)) as advance:
            for part in pool.map(embed, chunks):
                digests += part
                advance(len(part))
    finally:
        known |= fresh
        if fresh:
            _save(cache, known)
    kept = [(digest, item) for digest, item in zip(digests, items, strict=True) if digest in known]
    vectors = np.stack([known[digest] for digest, _ in kept]) if kept else np.empty((0, 0), np.float32)
    good = np.flatnonzero(np.isfinite(vectors).all(axis=1)).tolist() if kept else []
    if len(good) < len(items):
        log.warning("%s: %s pictures cannot be used and are left out", name, f"{len(items) - len(good):,}")
    if not good:
        raise UsageError(f"{name}: none of its {len(items)} pictures can be used")
    kept = [kept[at] for at in good]
    return Labelled(
        name,
        vectors if len(good) == len(vectors) else vectors[good],
        [str(item.label) for _, item in kept],
        [digest for digest, _ in kept],
        [item.key for _, item in kept],
    )


def _load(path: Path) -> dict[bytes, Vector]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            return {bytes(one): vector for one, vector in zip(kept["digests"], kept["vectors"], strict=True)}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # not there, or not whole: it is made anew
        return {}


def _save(path: Path, vectors: dict[bytes, Vector]) -> None:
    digests = np.frombuffer(b"".join(vectors), np.uint8).reshape(-1, 32)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
            np.savez(file, digests=digests, vectors=np.stack(list(vectors.values())))
        Path(file.name).replace(path)
    except OSError as error:
        log.warning("the vectors cannot be kept for the next run: %s: %s", path.parent, error.strerror)
