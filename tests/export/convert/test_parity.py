"""The comparison of vectors with those of torch, and its limits."""

from pathlib import Path

import numpy as np
import pytest

from cbir.errors import CbirError, UsageError
from cbir.records import Vector

pytest.importorskip("torch", reason="the extra `export` is not installed")

from cbir.export.convert.parity import compare_vectors, require, sample_images, shortfall
from cbir.export.convert.quantize import CALIBRATION_IMAGES

pytestmark = [pytest.mark.export, pytest.mark.filterwarnings("ignore")]


def test_calibration_and_comparison_use_different_images() -> None:

    measured, calibrated = sample_images(), sample_images(CALIBRATION_IMAGES, 0.25)
    assert len(calibrated.files) == CALIBRATION_IMAGES
    assert not set(measured.files) & set(calibrated.files)


def _unit(vectors: Vector) -> Vector:
    unit: Vector = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def test_agreement_of_equal_other_and_unrelated_vectors() -> None:
    rng = np.random.default_rng(0)
    vectors = _unit(rng.normal(size=(60, 8)).astype(np.float32))
    labels = [f"class {i % 3}" for i in range(60)]
    same = compare_vectors(vectors, vectors, labels)
    assert (same.cosine_min, same.neighbour_overlap, same.precision_at_5_change) == (pytest.approx(1, abs=1e-6), 1, 0)
    assert shortfall(same, "fp32") is None
    other = compare_vectors(vectors, _unit(rng.normal(size=(60, 8)).astype(np.float32)), labels)
    assert other.neighbour_overlap < 0.5
    shorter = compare_vectors(vectors, vectors[:, :4], [None] * 60)
    assert np.isnan(shorter.cosine_min)
    assert shorter.precision_at_5 is None
    for agreement in (other, shorter):
        with pytest.raises(
            CbirError, match="fp16 file differs from torch: cosine min .*, expected at least 0.9999. Try"
        ):
            require(agreement, "fp16", "Try again")


def test_a_source_without_a_readable_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cut.png").write_bytes(b"no image")
    with pytest.raises(UsageError, match="has no image that can be decoded"):
        sample_images(4, source=str(tmp_path))
