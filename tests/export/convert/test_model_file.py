"""Text towers that belong to a further image model."""

from pathlib import Path

import numpy as np
import pytest

from cbir.models.sealed import checksum_of, read_sealed
from cbir.models.text_tower import TextTower, belongs_to
from tests.support.text_file import text_card, write_tower

pytest.importorskip("onnx", reason="onnx is not installed")

from cbir.export.convert.model_file import write_for_another


def test_a_text_tower_is_written_again_for_a_further_image_model(tmp_path: Path) -> None:
    first, second = "1" * 64, "2" * 64
    tower = write_tower(tmp_path / "small-text.onnx", text_card((first,)))
    both = tmp_path / "fast-text.onnx"
    write_for_another(tower, second, both)
    assert belongs_to(both, first) and belongs_to(both, second)
    assert not belongs_to(tower, second)
    before, after = (TextTower(path, cache=tmp_path / "cache") for path in (tower, both))
    assert np.array_equal(after.embed(["red", "blue train"]), before.embed(["red", "blue train"]))
    assert after.card.name == "fast-text"
    assert after.sha256 == checksum_of(read_sealed(both)) != before.sha256
