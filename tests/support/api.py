"""One small collection in each kind of store, filled through the Python API, and the check of a wrong call."""

import io
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import cbir
from cbir.stores.embedded import catalog
from cbir.stores.embedded.reader import EmbeddedStore

KINDS = ("edge", "faiss", "server", "api")
CATEGORIES = ("Animals & Nature", "Flags", "Food & Drink")
PER_CATEGORY = 8
NEW = ("new/path", "new/bytes", "new/pil", "new/array")
FLAT = "faiss:./index?index=Flat"
API_KEY = "a key for the tests of a server"
PRIVATE = cbir.Settings(allow_private_addresses=True, api_key=API_KEY)

Call = Callable[[cbir.Collection], object]


class Filled:
    """A collection with the images of a folder and those of a list, and what was reported."""

    def __init__(self, url: str, folder: Path, images: list[Any]):
        self.url = url
        self.photos = cbir.open(url, create=True, settings=PRIVATE)
        assert self.photos.count() == 0
        assert self.photos.fields() == {}
        payloads = [{"label": "New", "year": 2010 + number, "tags": ["a", "b"][: number % 3]} for number in range(4)]
        add = partial(self.photos.add, images, keys=NEW, payloads=payloads)
        self.reports = [self.photos.add(folder), add(), self.photos.add(str(folder)), add()]


def opened(data: bytes) -> Image.Image:
    """Return the RGB image in the bytes of a file."""
    return Image.open(io.BytesIO(data)).convert("RGB")


def key_of(path: Path) -> str:
    """Return the key that a file of the folder has."""
    return f"{path.parent.name}/{path.name}"


def assert_refused(call: Callable[[], object], error: type[cbir.CbirError], message: str) -> None:
    """Check that a call raises an error whose message is one line and matches `message`."""
    with pytest.raises(error) as caught:
        call()
    assert re.search(message, str(caught.value))
    assert len(str(caught.value).splitlines()) == 1


def write_images(folder: str, count: int, seed: int) -> Path:
    """Write some images, named alike in every folder."""
    rng = np.random.default_rng(seed)
    Path(folder, "c").mkdir(parents=True)
    for number in range(count):
        Image.fromarray(rng.integers(0, 255, (40, 40, 3), np.uint8)).save(Path(folder, "c", f"{number}.png"))
    return Path(folder)


def claim_another_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every collection claim that another model, with random weights, made its vectors."""

    class Claiming(EmbeddedStore):
        def __init__(self, *arguments: Any):
            super().__init__(*arguments)
            self.info = replace(self.info, model=replace(self.info.model, sha256="0" * 64, random_weights=True))

    monkeypatch.setattr(catalog, "EmbeddedStore", Claiming)
