"""How the speed of models is shown."""

from dataclasses import replace

import pytest
from cbir.bench.core.subject import envelope
from cbir.bench.core.timing import Noise, spread
from cbir.bench.embedding.model_speed import ModelSpeed
from cbir.bench.models.result import SUBJECT, ModelsResult, present

from cbir.tables import Range


def speed(model: str, precision: str, batch: int, milliseconds: list[float]) -> ModelSpeed:
    spent, rate = spread(milliseconds), spread([1000 / value for value in milliseconds])
    case = ModelSpeed(model, precision, "cpu", batch, 8, 224, 1.5, False)
    return replace(case, ms_an_image=spent, images_per_second=rate, rounds_ms=milliseconds)


@pytest.fixture
def result() -> ModelsResult:
    """A fast model in one batch size, and a slow one that a device cannot run."""
    speeds = [
        speed("fast", "int8", 1, [2.0, 4.0, 5.0] * 2),
        speed("slow", "fp32", 1, [12.0] * 6),
        ModelSpeed("slow", "fp32", "openvino", 1, 8, 224, 6.0, False, failed="no such device"),
    ]
    header = {**envelope("models", ["a note"]), "machine": {"features": "AVX2, VNNI"}}
    return ModelsResult(**header, rounds=3, threads=2, speeds=speeds, noise=Noise(spread([1.0]), 0.0))


def test_a_result_is_the_same_after_saving_and_loading(result: ModelsResult) -> None:
    assert SUBJECT.load(SUBJECT.dump(result)) == result


def test_the_section_compares_the_fastest_with_the_slowest(result: ModelsResult) -> None:
    section = present(result)
    assert section.verdicts == [
        "fast (int8) takes 4.00 ms an image in batches of 1 on a processor with AVX2, VNNI.",
        "fast (int8) embeds 3.00 [2.40, 6.00] times as fast as slow (fp32) in batches of 1 and 1 on a processor with"
        " AVX2, VNNI.",
    ]
    (table,) = section.tables
    assert [row[0] for row in table.rows] == ["fast (int8), cpu, batch 1", "slow (fp32), cpu, batch 1"]
    assert table.rows[0][6] == Range(4.0, 2.0, 5.0)
    assert section.notes == ["a note", "slow (fp32), openvino, batch 1: failed: no such device"]


def test_a_single_model_is_not_compared(result: ModelsResult) -> None:
    section = present(replace(result, speeds=result.speeds[:1]))
    assert section.verdicts == ["fast (int8) takes 4.00 ms an image in batches of 1 on a processor with AVX2, VNNI."]


def test_what_int8_gains_is_said_by_batch_and_processor(result: ModelsResult) -> None:
    speeds = [
        speed("lite-int8", "int8", 1, [9.0] * 6),
        speed("lite-fp32", "fp32", 1, [6.0] * 6),
        speed("lite-int8", "int8", 32, [2.0] * 6),
        speed("lite-fp32", "fp32", 32, [4.0] * 6),
    ]
    verdicts = present(replace(result, speeds=speeds, machine={"features": "AVX2"})).verdicts
    where = "by cpu on a processor with AVX2, without VNNI."
    assert verdicts[1:] == [
        f"lite-fp32 embeds 1.50 [1.50, 1.50] times as fast as lite-int8 in batches of 1 {where}",
        f"lite-int8 embeds 2.00 [2.00, 2.00] times as fast as lite-fp32 in batches of 32 {where}",
    ]
    assert "processor" not in "".join(present(replace(result, speeds=speeds, machine={})).verdicts), "it is not known"


def test_an_older_result_with_a_provider_is_loaded(result: ModelsResult) -> None:
    content = SUBJECT.dump(result)
    for case in content["speeds"]:
        case["provider"] = case.pop("device")
        case.pop("rounds_ms")
    found = SUBJECT.load(content)
    assert [case.device for case in found.speeds] == ["cpu", "cpu", "openvino"]
    assert len(present(found).verdicts) == 1, "without rounds nothing is compared"
