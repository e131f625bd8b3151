"""The same few images, to be read from every kind of source."""

import io
from pathlib import Path

import datasets
import pytest
from PIL import Image

from cbir.errors import ImageError
from cbir.records import Item
from cbir.sources.base import Source, SourceOptions
from cbir.sources.registry import open_source

COLOURS = {"red/a.jpg": "red", "red/b.jpg": "darkred", "blue/c.jpg": "blue", "green/d.jpg": "green"}


def jpeg(colour: str) -> bytes:
    """Return an image that lies on its side and says so in its EXIF block."""
    image = Image.new("RGB", (60, 80), colour)
    image.paste("white", (10, 10, 30, 70))
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", exif=exif.tobytes())
    return buffer.getvalue()


EXPECTED = {Path(name).name: (name.split("/")[0], jpeg(colour)) for name, colour in COLOURS.items()}
"""The label and the bytes of each image, by file name."""


def read(source: Source) -> dict[str, tuple[str | None, bytes]]:
    """Return what `EXPECTED` holds, from a source."""
    return {Path(item.key).name: (item.label, item.read()) for item in source.items}


def every_source(folder: Path, table: datasets.Dataset, tmp_path: Path) -> dict[str, Source]:
    """Return the same images from each kind of source that needs no network."""
    table.to_parquet(str(tmp_path / "shapes.parquet"))
    table.save_to_disk(str(tmp_path / "saved"))
    labelled = SourceOptions(label="colour")
    arrow = next((tmp_path / "saved").glob("*.arrow"))
    return {
        "folder": open_source(str(folder), SourceOptions()),
        "parquet": open_source(str(tmp_path / "shapes.parquet"), labelled),
        "glob": open_source(str(tmp_path / "*.parquet"), labelled),
        "arrow": open_source(str(arrow), labelled),
        "saved": open_source(str(tmp_path / "saved"), labelled),
        "imagefolder": open_source(f"imagefolder:{folder}", SourceOptions()),
    }


def reason(item: Item) -> str:
    """Return why an item cannot be read."""
    with pytest.raises((ImageError, OSError)) as caught:
        item.read()
    return str(caught.value)
