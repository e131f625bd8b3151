"""Runs a model: with onnxruntime's CPU code, or on another device if that is installed.

`PROVIDERS` has those that come with onnxruntime itself. OpenVINO is a plug-in for Intel's processors: the package
`onnxruntime-ep-openvino`, in the extra `openvino`.
"""

import hashlib
import json
import os
import platform
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cbir.devices import Device
from cbir.errors import UsageError

OPENVINO_PACKAGE = "onnxruntime-ep-openvino"
_HINTS: Mapping[Device, str] = MappingProxyType({"openvino": "f32", "openvino-bf16": "bf16"})
_REGISTRATION = threading.Lock()
_CPU_INFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Provider:
    """An execution provider of onnxruntime: its name, the package that has it, and what else has to be installed.

    `automatic` is False if it takes minutes to load a model: such a provider is used only if it is named.
    """

    name: str
    package: str
    needs: str
    automatic: bool = True


PROVIDERS: Mapping[Device, Provider] = MappingProxyType(
    {
        "cuda": Provider("CUDAExecutionProvider", "onnxruntime-gpu", "an NVIDIA driver, CUDA and cuDNN"),
        "tensorrt": Provider("TensorrtExecutionProvider", "onnxruntime-gpu", "TensorRT, CUDA and cuDNN", False),
        "coreml": Provider("CoreMLExecutionProvider", "onnxruntime", "macOS"),
        "directml": Provider("DmlExecutionProvider", "onnxruntime-directml", "Windows and DirectX 12"),
    }
)


def open_session(data: bytes, device: Device, threads: int, cache: Path | None = None) -> Any:
    """Return an onnxruntime session for a model file's bytes. `cache` is the folder for compiled models.

    Raises:
        UsageError: The device is not installed, or does not work here.
    """
    if device == "cpu":
        return _open_exact(data, threads) if int8_overflows() else _open(data, threads)
    if device in PROVIDERS:
        return _open_with(data, device, threads, cache)
    return _open_openvino(data, device, threads)


def other_devices() -> list[Device]:
    """Return the devices besides the processor that are installed here and load a model within seconds."""
    import onnxruntime

    available = onnxruntime.get_available_providers()
    found: list[Device] = list(_HINTS) if _openvino_devices() else []
    return found + [
        device for device, provider in PROVIDERS.items() if provider.automatic and provider.name in available
    ]


def _open_with(data: bytes, device: Device, threads: int, cache: Path | None) -> Any:
    import onnxruntime

    provider = PROVIDERS[device]
    if provider.name not in onnxruntime.get_available_providers():
        raise UsageError(
            f"the device {device} needs the package {provider.package} in place of onnxruntime, and {provider.needs}"
        )
    options, settings = _options(threads), {}
    if device == "directml":
        options.enable_mem_pattern = False  # it refuses to load otherwise
    if device == "tensorrt" and cache is not None:
        settings = {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(cache / "tensorrt")}
    fallback = ["CUDAExecutionProvider"] if device == "tensorrt" else []
    providers = [(provider.name, settings), *fallback, "CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(data, options, providers=providers)
    if session.get_providers()[0] != provider.name:  # onnxruntime falls back to the processor without an error
        raise UsageError(f"the device {device} does not work here; it needs {provider.needs}")
    return session


def _open_openvino(data: bytes, device: Device, threads: int) -> Any:
    import onnxruntime

    options = _options(threads)
    devices = _openvino_devices()
    if not devices:
        if _openvino_plugin() is None:
            raise UsageError(f"the device {device} needs OpenVINO. Install it: pip install 'cbir[openvino]'")
        raise UsageError(f"the device {device} needs a processor of Intel: OpenVINO finds none. Leave the device out.")
    config = {"CPU": {"INFERENCE_PRECISION_HINT": _HINTS[device]}}
    options.add_provider_for_devices(devices, {"num_of_threads": str(threads), "load_config": json.dumps(config)})
    return onnxruntime.InferenceSession(data, options)


def _openvino_plugin() -> Any:
    try:
        import onnxruntime_ep_openvino as plugin
    except ImportError:
        return None
    return plugin


def _openvino_devices() -> list[Any]:
    """Return OpenVINO's CPU devices in onnxruntime; an empty list without the plug-in, or without an Intel one."""
    import onnxruntime

    plugin = _openvino_plugin()
    if plugin is None:
        return []
    name = plugin.get_ep_name()

    def devices() -> list[Any]:
        found = onnxruntime.get_ep_devices()
        return [device for device in found if device.ep_name == name and device.device.type.name == "CPU"]

    with _REGISTRATION:
        if not devices():
            onnxruntime.register_execution_provider_library("openvino", plugin.get_library_path())
    return devices()


def int8_overflows() -> bool:
    """Return True if onnxruntime's default int8 arithmetic overflows here: on x86 processors without VNNI."""
    if platform.machine().lower() not in ("x86_64", "amd64", "i386", "i686"):
        return False
    return not {"avx512_vnni", "avx_vnni"} & processor_flags()


def processor_flags() -> set[str]:
    """Return the features of the processor as Linux names them; nothing elsewhere."""
    return set(" ".join(_processor()).split())


def _options(threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return options


def _open(data: bytes, threads: int, setting: str | None = None) -> Any:
    import onnxruntime

    options = _options(threads)
    if setting is not None:
        options.add_session_config_entry(setting, "1")
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def _open_exact(data: bytes, threads: int) -> Any:
    """Return a session whose int8 arithmetic cannot overflow: it uses unsigned 8 bits, or floats if that fails."""
    try:
        return _open(data, threads, "session.x64quantprecision")
    except Exception:  # it fails for weights shared by several nodes, as in transformers
        return _open(data, threads, "session.disable_quant_qdq")


def machine_id() -> str:
    """Return an identifier of this machine's processor, with its features."""
    described = _processor() or [platform.machine(), platform.processor()]
    return hashlib.sha256("".join(described).encode()).hexdigest()[:16]


def _processor() -> list[str]:
    """Return the processor's model and features on Linux, an empty list elsewhere."""
    try:
        lines = _CPU_INFO.read_text().splitlines()
    except OSError:
        return []
    return sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
