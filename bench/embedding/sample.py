"""What every part is given: the models, and image files spread over the source.

To be prepared in a process of its own: Linux counts the memory that a process had as memory of each child that it
starts, and the ingest measures its memory.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cbir.errors import ImageError, UsageError
from cbir.images.decode import EXTENSIONS
from cbir.models.card import ModelCard
from cbir.models.embedder import Embedder, load_embedder
from cbir.models.sealed import find_model
from cbir.settings import Settings
from cbir.sources.base import Source, SourceOptions
from cbir.sources.registry import open_source

from ..core.synthetic import made_up_images

_MAX_IMAGES = 512
_MAX_BYTES = 256 * 2**20
_PHOTOS = 8
_PHOTO_SIZE = (4000, 3000)


@dataclass(frozen=True)
class Sample:
    """The models, and `count` image files of `bytes` in all, which the loops and the baselines go through."""

    source: str
    count: int
    bytes: int
    files: list[Path]
    cards: list[ModelCard]


def prepare(
    folder: Path, source: str | None, options: SourceOptions, photos: int | None, models: Sequence[str]
) -> Sample:
    """Write the sample to `folder/images` and return what there is.

    With `photos`, so many generated images of 12 megapixels in `folder/photos` are the source.
    """
    files = [find_model(model) for model in models]
    embedders = [load_embedder(file, Settings()) for file in files]
    if photos:
        source = str(folder / "photos")
        _make_photos(Path(source), photos)
    opened = open_source(str(source), options)
    target = folder / "images"
    target.mkdir()
    sizes = _write_sample(opened, embedders[0], target)
    if not sizes:
        raise UsageError(f"{source}: none of its images can be used")
    cards = [embedder.card for embedder in embedders]
    return Sample(str(source), len(sizes), sum(sizes), files, cards)


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
    """Write the files and return their sizes."""
    step = max(1, (source.total or 0) // _MAX_IMAGES)
    megapixels = Settings().max_image_megapixels
    sizes: list[int] = []
    for number, item in enumerate(source.items):
        if number % step:
            continue
        try:
            data = item.read()
            embedder.decode(data, megapixels)
        except (ImageError, OSError):
            continue
        suffix = Path(item.key).suffix.lower()
        (folder / f"{len(sizes):06d}{suffix if suffix in EXTENSIONS else ''}").write_bytes(data)
        sizes.append(len(data))
        if len(sizes) == _MAX_IMAGES or sum(sizes) > _MAX_BYTES:
            break
    return sizes
