"""The self-test: a device only where it is faster and gives the same, int8 only where it is much faster."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cbir.models import self_test as module
from cbir.models.embedder import Embedder
from cbir.models.runtime import open_session, other_devices
from cbir.models.self_test import MIN_COSINE, Choice, choose, self_test

CLOCK = [0.0]
"""The time that the self-test reads: real pauses of milliseconds are not exact enough on a busy machine."""

Case = tuple[list[float], float]
"""The vector that a session returns, and its seconds."""


class FakeSession:
    """Returns what it is told to, in the time that it is told to."""

    def __init__(self, vector: list[float], seconds: float):
        self.vector, self.seconds = vector, seconds

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(shape=["batch", 8, 8, 3])]

    def run(self, _: object, inputs: dict[str, Any]) -> list[Any]:
        CLOCK[0] += self.seconds
        return [np.tile(np.array(self.vector, np.float32), (len(inputs["images"]), 1))]


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[bytes, str], Case]:
    """The sessions by the bytes of a model file and the device; a test fills it. Others cannot be opened."""
    fakes: dict[tuple[bytes, str], Case] = {}
    monkeypatch.setattr(module, "open_session", lambda data, device, threads: FakeSession(*fakes[data, device]))
    monkeypatch.setattr(module, "checksum_of", bytes.decode)
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: CLOCK[0]))
    return fakes


SAME, DIFFERENT = [1.0, 0.0], [0.9, 0.4359]


@pytest.mark.parametrize(
    ("openvino", "bf16", "expected"),
    [
        ((SAME, 0.01), (DIFFERENT, 0.001), "openvino"),  # the fastest one differs
        ((SAME, 0.09), (SAME, 0.07), "cpu"),  # both are slower
        (([float("nan"), 0.0], 0.001), ([1.0, 0.01], 0.01), "openvino-bf16"),
    ],
)
def test_the_fastest_device_that_gives_the_same_is_chosen(
    openvino: Case, bf16: Case, expected: str, sessions: dict[tuple[bytes, str], Case], tmp_path: Path
) -> None:
    cases = {"cpu": (SAME, 0.03), "openvino": openvino, "openvino-bf16": bf16}
    sessions.update({(b"model", device): case for device, case in cases.items()})
    chosen = choose({"fp32": b"model"}, ["openvino", "openvino-bf16", "cuda"], 1, tmp_path)
    assert chosen.device == expected
    sessions.clear()  # with these, nothing could be tested again
    remembered = choose({"fp32": b"model"}, ["openvino", "openvino-bf16", "cuda"], 1, tmp_path)
    assert remembered == chosen, "one of the measured cosines is NaN"


@pytest.mark.parametrize(
    ("fp32", "int8", "cuda", "expected"),
    [
        (0.03, 0.015, None, ("int8", "cpu")),
        (0.03, 0.028, None, ("fp32", "cpu")),  # too little is gained
        (0.03, 0.015, 0.002, ("fp32", "cuda")),
        (0.03, 0.01, 0.02, ("int8", "cpu")),
    ],
)
def test_int8_is_chosen_where_it_is_much_faster_than_the_best_of_fp32(
    fp32: float,
    int8: float,
    cuda: float | None,
    expected: tuple[str, str],
    sessions: dict[tuple[bytes, str], Case],
    tmp_path: Path,
) -> None:
    sessions.update({(b"float", "cpu"): (SAME, fp32), (b"small", "cpu"): (DIFFERENT, int8)})
    if cuda is not None:
        sessions[b"float", "cuda"] = (SAME, cuda)
    chosen = choose({"fp32": b"float", "int8": b"small"}, ["cuda"] if cuda else [], 1, tmp_path)
    assert (chosen.precision, chosen.device) == expected


def test_nothing_is_tested_where_there_is_no_choice(tmp_path: Path) -> None:
    assert choose({"fp32": b"no model"}, [], 1, tmp_path) == Choice("fp32", "cpu", {}, {})
    assert not list(tmp_path.iterdir())


def test_the_choice_is_remembered_for_the_model_the_threads_and_the_devices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[list[str], int]] = []

    def test(files: Mapping[str, bytes], others: list[str], threads: int) -> Choice:
        asked.append((others, threads))
        return Choice("int8", "cpu", {"int8 on cpu": 1.0}, {"int8 on cpu": 1.0})

    monkeypatch.setattr(module, "self_test", test)
    monkeypatch.setattr(module, "checksum_of", bytes.decode)
    cache, files = tmp_path / "cache", {"fp32": b"a", "int8": b"b"}
    for threads in (1, 1, 2, 1):
        assert choose(files, [], threads, cache).precision == "int8"
    choose(files, ["cuda"], 1, cache)
    assert asked == [([], 1), ([], 2), (["cuda"], 1)]
    assert [path.name for path in cache.iterdir()] == ["self-tests.json"], "no draft is left"
    (cache / "self-tests.json").write_text("{broken")
    choose(files, [], 1, cache)
    assert len(asked) == 4


def test_a_self_test_that_fails_leaves_onnxruntimes_own_code(
    sessions: dict[tuple[bytes, str], Case], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chosen = choose({"fp32": b"float", "int8": b"small"}, [], 1, tmp_path)  # neither can be opened
    assert (chosen.precision, chosen.device) == ("fp32", "cpu")
    assert "because the self-test failed" in caplog.text
    assert not list(tmp_path.iterdir()), "it is tried again the next time"


def test_openvino_is_chosen_only_if_it_gives_the_same(model_file: Path) -> None:
    pytest.importorskip("onnxruntime_ep_openvino", reason="the extra `openvino` is not installed")
    if "openvino" not in other_devices():
        pytest.skip("OpenVINO supports no device of this machine")
    found = self_test({"fp32": model_file.read_bytes()}, ["openvino", "openvino-bf16"], 1)
    assert found.cosine["fp32 on openvino"] >= 0.9999
    assert found.cosine[f"fp32 on {found.device}"] >= MIN_COSINE
    assert found.milliseconds[f"fp32 on {found.device}"] <= found.milliseconds["fp32 on cpu"]
    assert Embedder(model_file, threads=1, device="openvino").device == "openvino"
    session = open_session(model_file.read_bytes(), "openvino", 1)
    assert "OpenVINOExecutionProvider" in session.get_providers()
