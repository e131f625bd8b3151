"""What every part is given: the models, and image files spread over the source."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
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
    """The models, and the number of image files that the loops and the baselines go through."""

    source: str
    count: int
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
    count = _write_sample(open_source(str(source), options), embedders[0], folder / "images")
    if not count:
        raise UsageError(f"{source}: none of its images can be used")
    return Sample(str(source), count, files, [embedder.card for embedder in embedders])


def _make_photos(folder: Path, count: int) -> None:
    folder.mkdir()  # with copies of a few: making one takes a second
    originals = [item.read() for item in made_up_images(min(count, _PHOTOS), *_PHOTO_SIZE)]
    for number in range(count):
        path = folder / f"{number:06d}.jpg"
        if number < len(originals):
            path.write_bytes(originals[number])
        else:
            os.link(folder / f"{number % len(originals):06d}.jpg", path)


def _write_sample(source: Source, embedder: Embedder, folder: Path) -> int:
    """Write the files and return their number."""
    folder.mkdir()
    count = size = 0
    for item in islice(source.items, 0, None, max(1, (source.total or 0) // _MAX_IMAGES)):
        try:
            data = item.read()
            embedder.decode(data, Settings().max_image_megapixels)
        except (ImageError, OSError):
            continue
        suffix = Path(item.key).suffix.lower()
        (folder / f"{count:06d}{suffix if suffix in EXTENSIONS else ''}").write_bytes(data)
        count, size = count + 1, size + len(data)
        if count == _MAX_IMAGES or size > _MAX_BYTES:
            break
    return count
