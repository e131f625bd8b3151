"""The images of a training, decoded once into one file that is memory-mapped.

The file is in the working folder of the training, not in the cache: it is useless without the checkpoint, as large as
the data, and removed with the folder.
"""

import hashlib
import json
import logging
import math
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter

from cbir.errors import CbirError, DiskFullError, ImageError, UsageError
from cbir.images.decode import decode
from cbir.images.preprocessing import InputRule
from cbir.index.files import sync, write_atomically
from cbir.models.runtime import cores
from cbir.progress import Progress, silent
from cbir.records import Item, to_plain
from cbir.text import one_line

log = logging.getLogger(__name__)

Pixels = npt.NDArray[np.uint8]

_BATCH = 16
_PIXELS, _CONTENTS = "pixels.u8", "images.json"


@dataclass(frozen=True)
class TrainingImages:
    """Pixels (N, side, side, 3), the class of each image, and the hash of the data."""

    pixels: Pixels
    labels: list[str]
    sha256: str


@dataclass(frozen=True)
class _Contents:
    """What the file of pixels holds. `rows` are the numbers of the usable images among all of the source."""

    sha256: str
    total: int
    rows: list[int]


_CONTENTS_TYPE = TypeAdapter(_Contents)


def decoded_rule(rule: InputRule) -> InputRule:
    """Return the rule for the stored pixels: the square that the model's input is cut out of, at the same scale.

    So the centre of the stored pixels is the model's input, up to a shift by one pixel, and crops have some room.
    """
    return replace(rule, size=rule.resize)


def prepare_images(
    items: Sequence[Item],
    rule: InputRule,
    folder: Path,
    max_megapixels: float,
    workers: int | None = None,
    progress: Progress = silent,
) -> TrainingImages:
    """Return the decoded images of labelled items, from the file in `folder` if it has them.

    The hash of the data is the SHA-256 over the key, label and SHA-256 of the file of each item; an unreadable file has
    "". Images that cannot be decoded are left out, with a warning.

    Raises:
        UsageError: The source has changed since the file was written, or no image can be decoded.
        CbirError: The file, or the list of its contents, is damaged.
        DiskFullError: The pixels do not fit on the disk.
    """
    path, contents_path = folder / _PIXELS, folder / _CONTENTS
    side = rule.resize
    if contents_path.exists():
        contents = _read_contents(contents_path)
        sha256 = _hash(items, [digest for digest, _ in _read_all(items, None, max_megapixels, workers, progress)])
        if sha256 != contents.sha256:
            raise UsageError(
                f"The images have changed since this training began ({contents.total:,} then, {len(items):,} now;"
                f" SHA-256 {contents.sha256[:12]} and {sha256[:12]}). Use the same images, or start anew with --restart"
            )
    else:
        needed, free = len(items) * side * side * 3, shutil.disk_usage(folder).free
        if needed > free:
            raise DiskFullError(
                f"The decoded images need {needed / 1e9:.1f} GB in {folder}, but {free / 1e9:.1f} GB are free. Use a"
                " smaller --size or --limit"
            )
        digests, rows, reasons = [], [], []
        with path.open("wb") as file:
            found = _read_all(items, decoded_rule(rule), max_megapixels, workers, progress)
            for row, (digest, pixels) in enumerate(found):
                digests.append(digest)
                if isinstance(pixels, str):
                    reasons.append(f"{to_plain(items[row].key)}: {pixels}")
                else:
                    rows.append(row)
                    file.write(pixels.tobytes())
        sync(path)
        if not rows:
            raise UsageError(f"None of the {len(items):,} images can be used. The first: {reasons[0]}")
        if reasons:
            log.warning("%s images cannot be used and are left out, such as %s", f"{len(reasons):,}", reasons[0])
        contents = _Contents(_hash(items, digests), len(items), rows)
        write_atomically(contents_path, _CONTENTS_TYPE.dump_json(contents))
    shape = (len(contents.rows), side, side, 3)
    if not path.exists() or path.stat().st_size != math.prod(shape):
        raise CbirError(f"{path} is damaged. Start anew with --restart")
    pixels = np.memmap(path, np.uint8, "r", shape=shape)
    labels = [str(items[row].label) for row in contents.rows]
    return TrainingImages(pixels, labels, contents.sha256)


def _read_contents(path: Path) -> _Contents:
    try:
        return _CONTENTS_TYPE.validate_json(path.read_bytes())
    except ValueError:
        raise CbirError(f"{path} is damaged. Start anew with --restart") from None


def _hash(items: Sequence[Item], digests: Sequence[str]) -> str:
    whole = hashlib.sha256()
    for item, digest in zip(items, digests, strict=True):
        whole.update(json.dumps([item.key, item.label, digest]).encode() + b"\n")
    return whole.hexdigest()


def _read_all(
    items: Sequence[Item], rule: InputRule | None, max_megapixels: float, workers: int | None, progress: Progress
) -> Iterator[tuple[str, Pixels | str]]:
    """Yield the SHA-256 of each file, and its pixels or why there are none. Without a rule, nothing is decoded."""

    def read(item: Item) -> tuple[str, Pixels | str]:
        digest = ""
        try:
            data = item.read()
            digest = hashlib.sha256(data).hexdigest()
            return digest, rule.pixels(decode(data, 2 * rule.resize, max_megapixels)) if rule else ""
        except (ImageError, OSError) as error:
            return digest, one_line(error)

    batches = [items[start : start + _BATCH] for start in range(0, len(items), _BATCH)]
    title = "decoding" if rule else "comparing"
    with ThreadPoolExecutor(workers or cores()) as pool, progress(title, len(items)) as advance:
        for found in pool.map(lambda batch: [read(item) for item in batch], batches):
            yield from found
            advance(len(found))
