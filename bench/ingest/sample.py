"""What every part of a speed benchmark is given: the pictures as files, what the models are, and vectors to agree with.

To be done in a process of its own: Linux counts what a process had as memory of each child that it starts,
and the ingest says what memory it had.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cbir.errors import ImageError, UsageError
from cbir.images.decode import EXTENSIONS
from cbir.models.card import ModelCard
from cbir.models.embedder import Embedder, load_embedder
from cbir.models.sealed import find_model
from cbir.settings import Settings
from cbir.sources.base import Source, SourceOptions
from cbir.sources.registry import open_source

from ..core.synthetic import made_up_images

COMPARED = 64  # pictures whose vectors are compared with a baseline's
_SAMPLE = 512
_SAMPLE_BYTES = 256 * 2**20
_PHOTOS = 8
_PHOTO_SIZE = (4000, 3000)


@dataclass(frozen=True)
class Prepared:
    """What is there to measure with.

    Attributes:
        total: Pictures in it, None if it does not say.
        sample: Pictures in `folder/pictures`, spread over the source, which the loops and the baselines go through.
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

    `photos` asks for so many made-up ones of 12 megapixels in `folder/photos` instead of a source.
    """
    files = [find_model(model) for model in models]
    settings = Settings()
    embedders = [load_embedder(file, settings) for file in files]
    if photos:
        source = str(folder / "photos")
        _make_photos(Path(source), photos)
    opened = open_source(str(source), options)
    target = folder / "pictures"
    target.mkdir()
    written = _write_sample(opened, embedders[0], target)
    if not written:
        raise UsageError(f"{source}: none of its pictures can be used")
    compared = [path.read_bytes() for path in sorted(target.iterdir())[:COMPARED]]
    for number, embedder in enumerate(embedders):
        images = [embedder.decode(data, settings.max_image_megapixels) for data in compared]
        np.save(folder / f"vectors-{number}.npy", embedder.embed(images))
    return Prepared(str(source), opened.total, len(written), sum(written), files, [one.card for one in embedders])


def _make_photos(folder: Path, count: int) -> None:
    folder.mkdir()  # with copies of a few: making one takes a second
    originals = [item.read() for item in made_up_images(min(count, _PHOTOS), *_PHOTO_SIZE)]
    for number in range(count):
        path = folder / f"{number:06d}.jpg"
        if number < len(originals):
            path.write_bytes(originals[number])
        else:
            os.link(folder / f"{number % len(originals):06d}.jpg", path)


def _write_sample(source: Source, embedder: Embedder, folder: Path) -> list[int]:
    step = max(1, (source.total or 0) // _SAMPLE)
    megapixels = Settings().max_image_megapixels
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
