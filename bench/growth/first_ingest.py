"""The first ingest of a collection: how fast images are stored, and how soon after the last one they are published."""

import shlex
import shutil
from dataclasses import dataclass
from typing import Annotated

from cbir.tables import Column

from .made_up import COLLECTION, new_images, write_table
from .workplace import Workplace


@dataclass(frozen=True)
class FirstIngest:
    """An ingest into an empty index folder.

    `durable` is without and `published` with the time from the last image to the end, which is `build` seconds and
    takes `build_core` seconds of processor time.
    """

    name: str
    images: Annotated[int, Column("images", format=",d")]
    durable: Annotated[float, Column("durable", "images/s", ",.1f")]
    published: Annotated[float, Column("published", "images/s", ",.1f", better="higher")]
    ratio: Annotated[float, Column("published / durable", format=".3f", better="higher")]
    build: Annotated[float, Column("build", "s", ".3g", better="lower")]
    build_core: Annotated[float, Column("build", "core-s", ".3g", better="lower")]


def first_ingest(place: Workplace, source: str | None) -> FirstIngest:
    """Ingest a source with options of `cbir-ingest`, or as many made-up images as the collection has points."""
    if source is None:
        table = write_table(place.folder / "first.parquet", new_images(place.points, 40_000))
        words = [str(table), "--model", str(place.model), "--collection", COLLECTION, "--dataset", COLLECTION]
    else:
        words = shlex.split(source)
    root = place.empty()
    process = place.ingest(root, words)
    shutil.rmtree(root)
    report = process.printed
    seconds, images = report["seconds"], int(report["stored"])
    durable, published = images / (seconds["total"] - seconds["build"]), images / seconds["total"]
    core = max(0.0, process.core_seconds - seconds["core"])
    return FirstIngest(
        source or "made-up images", images, durable, published, published / durable, seconds["build"], core
    )
