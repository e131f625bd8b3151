"""Images that a program passes: their keys, labels and versions, and what is no image."""

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cbir.errors import UsageError
from cbir.sources.memory import open_images
from tests.support.sources import jpeg, reason


def test_keys_are_paths_or_checksums_or_those_given(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg("red"))
    data = jpeg("blue")
    source = open_images([path, data], None, None, "images")
    assert [item.key for item in source.items] == [str(path), hashlib.sha256(data).hexdigest()]
    assert [item.read() for item in source.items] == [jpeg("red"), data]
    assert (source.name, source.total, source.complete) == ("images", 2, False)
    assert [item.key for item in open_images([path, data], ["x", "y"], None, "images").items] == ["x", "y"]


def test_a_payload_has_the_label_and_changes_the_version(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg("red"))
    (first,) = open_images([path], None, [{"label": 5, "year": 2015}], "images").items
    assert (first.label, first.payload) == ("5", {"year": 2015})
    (second,) = open_images([path], None, [{"label": 5, "year": 2016}], "images").items
    assert first.version != second.version


def test_arrays_and_pil_images_are_read_as_png() -> None:
    pixels = np.full((4, 6, 3), 200, np.uint8)
    for image in (pixels, Image.fromarray(pixels)):
        (item,) = open_images([image], None, None, "images").items
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(item.read()))), pixels)


def test_a_file_that_is_missing_is_an_item_that_cannot_be_read() -> None:
    (item,) = open_images(["./missing.jpg"], None, None, "images").items
    assert (item.version, "No such file" in reason(item)) == ("", True)


@pytest.mark.parametrize(
    ("images", "keys", "payloads", "message"),
    [
        ([], None, None, "no images were given"),
        (["a", "b"], ["a"], None, "There are 2 images and 1 keys. Give one for each image."),
        (["a"], None, [{}, {}], "There are 1 images and 2 payloads"),
        (["a"], [5], None, "The key 5 is not a string."),
        (["a"], None, [{"label": ["x", "y"]}], r"The label \['x', 'y'\] is not a text"),
        ([5], None, None, "int"),
        ("a.jpg", None, None, "list"),
    ],
)
def test_misuse_is_refused(images: Any, keys: Any, payloads: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_images(images, keys, payloads, "images")
