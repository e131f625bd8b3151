"""What runs a model: devices that are missing are one line, and int8 is right on every processor."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnxruntime
import pytest

import cbir.models.runtime
from cbir.errors import UsageError
from cbir.models.embedder import Embedder, load_embedder
from cbir.models.runtime import PROVIDERS, open_session, other_devices
from cbir.settings import Settings


def test_without_openvino_onnxruntime_runs_and_asking_for_it_is_one_line(
    model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cbir.models.runtime, "_openvino_devices", list)
    monkeypatch.setattr(cbir.models.runtime, "_openvino_plugin", lambda: None)
    assert Embedder(model_file).device == "cpu"
    monkeypatch.setenv("CBIR_DEVICE", "openvino")
    with pytest.raises(UsageError, match=r"pip install 'cbir\[openvino\]'"):
        load_embedder(model_file, Settings())
    monkeypatch.setattr(cbir.models.runtime, "_openvino_plugin", object)
    with pytest.raises(UsageError, match="needs a processor of Intel"):
        load_embedder(model_file, Settings())
    monkeypatch.setenv("CBIR_DEVICE", "gpu")
    with pytest.raises(UsageError, match="CBIR_DEVICE"):
        load_embedder(model_file, Settings())


class FakeOnnxruntime:
    """An onnxruntime with other providers; `working` of them are used by a session."""

    def __init__(self, available: list[str], working: list[str]):
        self.available, self.working = [*available, "CPUExecutionProvider"], [*working, "CPUExecutionProvider"]
        self.asked: list[Any] = []

    def get_available_providers(self) -> list[str]:
        return self.available

    def session(self, data: bytes, options: Any, providers: list[Any]) -> Any:
        self.asked, self.options = providers, options
        return SimpleNamespace(get_providers=lambda: self.working)


@pytest.fixture
def onnxruntime_with(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that puts a fake onnxruntime with some providers in place of the real one."""

    def install(available: list[str], working: list[str]) -> FakeOnnxruntime:
        fake = FakeOnnxruntime(available, working)
        monkeypatch.setattr(onnxruntime, "get_available_providers", fake.get_available_providers)
        monkeypatch.setattr(onnxruntime, "InferenceSession", fake.session)
        monkeypatch.setattr(cbir.models.runtime, "_openvino_devices", list)
        return fake

    return install


@pytest.mark.parametrize("device", PROVIDERS)
def test_a_provider_of_onnxruntime_runs_a_model_if_it_is_there_and_works(
    device: Any, onnxruntime_with: Any, tmp_path: Path
) -> None:
    name = PROVIDERS[device].name
    onnxruntime_with([], [])
    assert other_devices() == []
    with pytest.raises(UsageError, match=f"needs the package {PROVIDERS[device].package} "):
        open_session(b"", device, 1)
    fake = onnxruntime_with([name], [])
    with pytest.raises(UsageError, match="does not work here"):
        open_session(b"", device, 1)
    fake = onnxruntime_with([name], [name])
    assert other_devices() == ([] if device == "tensorrt" else [device])
    open_session(b"", device, 3, tmp_path)
    assert fake.asked[0][0] == name
    assert fake.asked[-1] == "CPUExecutionProvider"
    assert fake.options.intra_op_num_threads == 3
    assert fake.options.enable_mem_pattern is (device != "directml")
    assert (str(tmp_path) in str(fake.asked[0][1])) is (device == "tensorrt")


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
