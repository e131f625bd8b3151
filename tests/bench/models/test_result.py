"""How the speed of models is shown."""

from dataclasses import replace

import pytest
from cbir.bench.core.subject import envelope
from cbir.bench.core.timing import Noise, spread
from cbir.bench.models.measure import Case, ModelSpeed
from cbir.bench.models.result import SUBJECT, ModelsResult, present

from cbir.tables import Range


@pytest.fixture
def result() -> ModelsResult:
    """A fast model in one batch size, and a slow one that a provider cannot run."""
    fast = ModelSpeed("fast", "int8", 8, 224, 1.5, False, "a" * 64)
    fast.cases.append(
        Case("cpu", 1, ms_an_image=spread([2.0, 4.0, 5.0]), images_per_second=spread([500.0, 250.0, 200.0]))
    )
    slow = ModelSpeed("slow", "fp32", 8, 224, 6.0, False, "b" * 64)
    slow.cases.append(Case("cpu", 1, ms_an_image=spread([12.0]), images_per_second=spread([83.0])))
    slow.cases.append(Case("openvino", 1, failed="no such device"))
    header = envelope("models", ["a note"], ("cbir",))
    return ModelsResult(**header, rounds=3, threads=2, models=[fast, slow], noise=Noise(spread([1.0]), 0.0))


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
    section = present(replace(result, models=result.models[:1]))
    assert section.verdicts == ["fast (int8) takes 4.00 ms an image."]
