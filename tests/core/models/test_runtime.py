"""What runs a model: OpenVINO only where it is faster and gives the same, and int8 that is right on every processor."""

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import cbir.models.runtime
from cbir.errors import UsageError
from cbir.models.embedder import Embedder, load_embedder
from cbir.models.runtime import MIN_COSINE, SelfTest, choose_provider, self_test
from cbir.models.sealed import checksum_of
from cbir.settings import Settings


def test_without_openvino_onnxruntime_runs_and_asking_for_it_is_one_line(
    model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cbir.models.runtime, "_openvino_devices", list)
    assert Embedder(model_file).provider == "cpu"
    monkeypatch.setenv("CBIR_PROVIDER", "openvino")
    with pytest.raises(UsageError, match=r"pip install 'cbir\[openvino\]'"):
        load_embedder(model_file, Settings())
    monkeypatch.setenv("CBIR_PROVIDER", "gpu")
    with pytest.raises(UsageError, match="CBIR_PROVIDER"):
        load_embedder(model_file, Settings())


@pytest.mark.parametrize(
    ("machine", "flags", "overflows"),
    [
        ("x86_64", "flags\t\t: fpu avx2 fma", True),
        ("x86_64", "flags\t\t: fpu avx2 avx512_vnni", False),
        ("AMD64", "flags\t\t: fpu avx_vnni", False),
        ("x86_64", "", True),
        ("aarch64", "Features\t: asimd", False),
    ],
)
def test_int8_takes_the_exact_way_where_the_ordinary_one_overflows(
    machine: str, flags: str, overflows: bool, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cbir.models.runtime.platform, "machine", lambda: machine)
    monkeypatch.setattr(cbir.models.runtime, "_processor", lambda: [flags] if flags else [])
    assert cbir.models.runtime.int8_overflows() is overflows
    asked: list[str | None] = []

    def opened(data: bytes, threads: int, setting: str | None = None) -> object:
        asked.append(setting)
        if setting == "session.x64quantprecision":
            raise RuntimeError("as it does for transformers")
        return object()

    monkeypatch.setattr(cbir.models.runtime, "_open", opened)
    cbir.models.runtime.open_session(model_file.read_bytes(), "cpu", 1)
    assert asked == (["session.x64quantprecision", "session.disable_quant_qdq"] if overflows else [None])


def test_the_answer_of_the_self_test_is_remembered(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def test(data: bytes, threads: int) -> SelfTest:
        asked.append(threads)
        return SelfTest("openvino", {"cpu": 2.0, "openvino": 1.0}, {"cpu": 1.0, "openvino": 0.9999})

    monkeypatch.setattr(cbir.models.runtime, "_openvino_devices", lambda: [object()])
    monkeypatch.setattr(cbir.models.runtime, "version", lambda package: "1")
    monkeypatch.setattr(cbir.models.runtime, "self_test", test)
    data, remembered = model_file.read_bytes(), tmp_path / "cache" / "providers.json"
    for threads in (1, 1, 2, 1):
        assert choose_provider(data, checksum_of(data), threads, remembered) == "openvino"
    assert asked == [1, 2]
    remembered.write_text("{broken")
    choose_provider(data, checksum_of(data), 1, remembered)
    assert asked == [1, 2, 1]


class FakeSession:
    """Answers what it is told to, in the time that it is told to."""

    def __init__(self, vector: list[float], seconds: float):
        self.vector, self.seconds = vector, seconds

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(shape=["batch", 8, 8, 3])]

    def run(self, _: object, inputs: dict[str, Any]) -> list[Any]:
        time.sleep(self.seconds)
        return [np.tile(np.array(self.vector, np.float32), (len(inputs["images"]), 1))]


@pytest.mark.parametrize(
    ("openvino", "bf16", "expected"),
    [
        (([1.0, 0.0], 0.01), ([0.9, 0.4359], 0.001), "openvino"),  # the fastest one differs
        (([1.0, 0.0], 0.09), ([1.0, 0.0], 0.07), "cpu"),  # both are slower
        (([float("nan"), 0.0], 0.001), ([1.0, 0.01], 0.01), "openvino-bf16"),
    ],
)
def test_the_fastest_that_gives_the_same_is_taken(
    openvino: Any, bf16: Any, expected: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sessions = {"cpu": ([1.0, 0.0], 0.03), "openvino": openvino, "openvino-bf16": bf16}
    monkeypatch.setattr(
        cbir.models.runtime, "open_session", lambda data, provider, threads: FakeSession(*sessions[provider])
    )
    monkeypatch.setattr(cbir.models.runtime, "_openvino_devices", lambda: [object()])
    monkeypatch.setattr(cbir.models.runtime, "version", lambda package: "1")
    assert choose_provider(b"", "model", 1, tmp_path / "providers.json") == expected
    monkeypatch.setattr(cbir.models.runtime, "self_test", None)
    remembered = choose_provider(b"", "model", 1, tmp_path / "providers.json")
    assert remembered == expected, "one of the measured cosines is NaN"


def test_a_broken_openvino_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(data: bytes, threads: int) -> SelfTest:
        raise RuntimeError("plug-in of another version")

    monkeypatch.setattr(cbir.models.runtime, "_openvino_devices", lambda: [object()])
    monkeypatch.setattr(cbir.models.runtime, "version", lambda package: "1")
    monkeypatch.setattr(cbir.models.runtime, "self_test", broken)
    assert choose_provider(b"", "model", 1, tmp_path / "providers.json") == "cpu"


def test_openvino_is_taken_only_if_it_gives_the_same(model_file: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime_ep_openvino", reason="the extra `openvino` is not installed")
    found = self_test(model_file.read_bytes(), 1)
    assert set(found.milliseconds) == {"cpu", "openvino", "openvino-bf16"}
    assert found.cosine["openvino"] >= 0.9999
    assert found.cosine[found.provider] >= MIN_COSINE
    slower = [name for name, spent in found.milliseconds.items() if spent > found.milliseconds["cpu"]]
    assert found.provider not in slower
    embedder = Embedder(model_file, threads=1, provider="openvino")
    assert embedder.provider == "openvino"
    assert "OpenVINOExecutionProvider" in embedder._session.get_providers()
