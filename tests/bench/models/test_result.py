"""How the speed of models is shown."""

from dataclasses import replace

import pytest
from cbir.bench.core.subject import envelope
from cbir.bench.core.timing import Noise, spread
from cbir.bench.models.measure import ModelSpeed
from cbir.bench.models.result import SUBJECT, ModelsResult, present

from cbir.tables import Range


@pytest.fixture
def result() -> ModelsResult:
    """A fast model in one batch size, and a slow one that a device cannot run."""
    speeds = [
        ModelSpeed("fast", "int8", "cpu", 1, 8, 224, 1.5, False, "", spread([2.0, 4.0, 5.0]), spread([200.0, 250.0])),
        ModelSpeed("slow", "fp32", "cpu", 1, 8, 224, 6.0, False, "", spread([12.0]), spread([83.0])),
        ModelSpeed("slow", "fp32", "openvino", 1, 8, 224, 6.0, False, failed="no such device"),
    ]
    header = envelope("models", ["a note"])
    return ModelsResult(**header, rounds=3, threads=2, speeds=speeds, noise=Noise(spread([1.0]), 0.0))


def test_a_result_is_the_same_after_saving_and_loading(result: ModelsResult) -> None:
    assert SUBJECT.load(SUBJECT.dump(result)) == result


def test_the_section_compares_the_fastest_with_the_slowest(result: ModelsResult) -> None:
    section = present(result)
    assert section.verdicts == [
        "fast (int8) is the fastest model: 4.00 ms an image. slow (fp32) takes 3.0 times as long."
    ]
    (table,) = section.tables
    assert [row[0] for row in table.rows] == ["fast (int8), cpu, batch 1", "slow (fp32), cpu, batch 1"]
    assert table.rows[0][4] == Range(4.0, 2.0, 5.0)
    assert section.notes == ["a note", "slow (fp32), openvino, batch 1: failed: no such device"]


def test_a_single_model_is_not_compared(result: ModelsResult) -> None:
    section = present(replace(result, speeds=result.speeds[:1]))
    assert section.verdicts == ["fast (int8) takes 4.00 ms an image."]
