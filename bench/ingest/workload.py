"""What every part of a speed benchmark is given: the pictures as files, what the models are, and vectors to agree with.

Done in a process of its own (see `prepare`): Linux counts what a process had as memory of each child that it starts,
and the ingest says what memory it had.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from cbir.errors import ImageError, UsageError
from cbir.images.decode import EXTENSIONS
from cbir.models.sealed import Embedder, ModelCard, find_model
from cbir.settings import load_settings
from cbir.sources.base import Source, SourceOptions, open_source

from ..parity.images import made_up_pictures

COMPARED = 64
"""Pictures whose vectors are compared with a peer's."""

_SAMPLE = 512
_SAMPLE_BYTES = 256 * 2**20
_PHOTOS = 8
_PHOTO_SIZE = (4000, 3000)


@dataclass(frozen=True)
class Prepared:
    """What is there to measure with.

    Attributes:
        source: What the ingest is given.
        total: Pictures in it, None if it does not say.
        sample: Pictures in `folder/pictures`, spread over the source, which the loops and the peers go through.
        sample_bytes: Of these files.
        files: The model files.
        cards: What these models are.
    """

    source: str
    total: int | None
    sample: int
    sample_bytes: int
    files: list[Path]
    cards: list[ModelCard]


def prepare(
    folder: Path, source: str | None, options: SourceOptions, photos: int | None, models: Sequence[str]
) -> Prepared:
    """Write the sample to `folder/pictures` and each model's vectors of it to `folder/vectors-N.npy`.

    Args:
        folder: Where to.
        source: Where pictures come from.
        options: Which of them.
        photos: Instead of a source, so many made-up photos of 12 megapixels, put into `folder/photos`.
        models: Packaged models or model files.

    Raises:
        UsageError: There is no such source or model, or no picture of the source can be used.
        CbirError: A model file is damaged, or the source cannot be reached.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_prepare, folder, source, options, photos, models).result()


def _prepare(
    folder: Path, source: str | None, options: SourceOptions, photos: int | None, models: Sequence[str]
) -> Prepared:
    files = [find_model(model) for model in models]
    embedders = [Embedder(file) for file in files]
    if photos:
        source = str(folder / "photos")
        _make_photos(Path(source), photos)
    opened = open_source(str(source), options)
    target = folder / "pictures"
    target.mkdir()
    written = _write_sample(opened, embedders[0], target)
    if not written:
        raise UsageError(f"{source}: none of its pictures can be used")
    megapixels = load_settings().max_image_megapixels
    for number, embedder in enumerate(embedders):
        images = [embedder.decode(path.read_bytes(), megapixels) for path in sorted(target.iterdir())[:COMPARED]]
        np.save(folder / f"vectors-{number}.npy", embedder.embed(images))
    cards = [embedder.card for embedder in embedders]
    return Prepared(str(source), opened.total, len(written), sum(written), files, cards)


def _make_photos(folder: Path, count: int) -> None:
    """Write photos, each of which is one of a few: making one takes a second."""
    folder.mkdir()
    originals = [item.read() for item in made_up_pictures(min(count, _PHOTOS), *_PHOTO_SIZE)]
    for number in range(count):
        path = folder / f"{number:06d}.jpg"
        if number < len(originals):
            path.write_bytes(originals[number])
        else:
            os.link(folder / f"{number % len(originals):06d}.jpg", path)


def _write_sample(source: Source, embedder: Embedder, folder: Path) -> list[int]:
    """Write every n-th picture of the source that can be used, and return their sizes in bytes."""
    step = max(1, (source.total or 0) // _SAMPLE)
    megapixels = load_settings().max_image_megapixels
    written: list[int] = []
    for number, item in enumerate(source.items):
        if number % step:
            continue
        try:
            data = item.read()
            embedder.decode(data, megapixels)
        except (ImageError, OSError):
            continue
        suffix = Path(item.key).suffix.lower()
        (folder / f"{len(written):06d}{suffix if suffix in EXTENSIONS else ''}").write_bytes(data)
        written.append(len(data))
        if len(written) == _SAMPLE or sum(written) > _SAMPLE_BYTES:
            break
    return written
