"""The packaged model, timed."""

from pathlib import Path

import pytest
from cbir.bench.embedding.model_speed import measure


def test_every_case_is_measured_in_every_round(model_file: Path) -> None:
    turns: list[int] = []
    found, noise = measure([model_file], ["cpu"], [1, 4], 2, turns.append)
    assert len(turns) == 3 * 2
    assert [case.batch for case in found] == [1, 4]
    for case in found:
        assert case.ms_an_image and case.images_per_second
        assert case.ms_an_image.low <= case.ms_an_image.value <= case.ms_an_image.high
        assert case.images_per_second.high == pytest.approx(1000 / case.ms_an_image.low)
    assert noise.kernel_ms.value > 0


def test_a_missing_provider_has_a_reason_and_no_time(model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cbir.models import runtime

    monkeypatch.setattr(runtime, "_openvino_devices", lambda: [])
    (ours, other), _ = measure([model_file], ["cpu", "openvino"], [1], 1, lambda done: None)
    assert ours.ms_an_image and not ours.failed
    assert other.ms_an_image is None and "openvino" in other.failed.lower()
