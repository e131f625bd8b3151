"""The folder and the names that the examples in docstrings and in the documentation are written for."""

import doctest
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cbir

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

SampleImages = Sequence[tuple[str, str | None, bytes]]
"""Of each image its key, its label and the bytes of its file."""


def make_example_folder(root: Path, sample_images: SampleImages) -> None:
    """Fill the folder in which every example starts.

    index/      collection "photos": 300 images with keys such as 1F600 and their category as label
    old/        collection "photos": the images of photos/
    photos/     animals/ and food/, three images each
    query.png   the image 1F600
    broken.jpg  not an image
    """
    for folder, label in (("animals", "Animals & Nature"), ("food", "Food & Drink")):
        (root / "photos" / folder).mkdir(parents=True)
        for key, _, data in [image for image in sample_images if image[1] == label][:3]:
            (root / "photos" / folder / f"{key}.png").write_bytes(data)
    (root / "query.png").write_bytes(next(data for key, _, data in sample_images if key == "1F600"))
    (root / "broken.jpg").write_bytes(b"not an image")
    with cbir.open(root / "index", "photos", create=True) as photos:
        keys, labels, images = zip(*sample_images[:300], strict=True)
        photos.add(images, keys=keys, payloads=[{"label": label} for label in labels])
    with cbir.open(root / "old", "photos", create=True) as old:
        old.add(root / "photos")


def copy_folder(source: Path, target: Path) -> None:
    """Copy the folder, so that an example may change it, without the working files of collections that are open."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("views"), dirs_exist_ok=True)


def run_examples(text: str, name: str, names: dict[str, Any]) -> None:
    """Run the examples in a text, and fail with what differs."""
    test = doctest.DocTestParser().get_doctest(text, names, name, None, None)
    assert test.examples, f"{name} has no example"
    report: list[str] = []
    doctest.DocTestRunner(optionflags=OPTIONS, verbose=False).run(test, out=report.append)
    assert not report, "".join(report)
