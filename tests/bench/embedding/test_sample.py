"""The images that an ingest is measured with."""

from pathlib import Path

import numpy as np
import pytest
from cbir.bench.embedding import sample
from PIL import Image

from cbir.sources.base import SourceOptions


def test_photos_are_made_once_and_linked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sample, "_PHOTO_SIZE", (80, 60))
    sample._make_photos(tmp_path / "photos", 11)
    files = sorted((tmp_path / "photos").iterdir())
    assert len(files) == 11
    assert len({path.stat().st_ino for path in files}) == 8
    with Image.open(files[-1]) as image:
        assert (image.format, image.size) == ("JPEG", (80, 60))


def test_the_sample_is_spread_over_the_source(monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path) -> None:
    monkeypatch.setattr(sample, "_MAX_IMAGES", 10)
    prepared = sample.prepare(tmp_path, str(folder), SourceOptions(), None, ["efficientnet_lite0"])
    names = sorted(path.name for path in folder.iterdir() if path.stem != "broken")
    written = sorted((tmp_path / "images").iterdir())
    assert prepared.count == len(written) == 10
    sources = {(folder / name).read_bytes(): index for index, name in enumerate(names)}
    assert min(np.diff([sources[path.read_bytes()] for path in written])) >= 3
