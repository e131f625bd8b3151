"""What runs a model: onnxruntime's own CPU code, or OpenVINO where it is installed, faster here, and gives the same.

Which one it is for a model, a machine and a number of threads, a self-test of some seconds finds out once and
remembers. OpenVINO comes as a plug-in of onnxruntime: the package `onnxruntime-ep-openvino`, extra `openvino`.
"""

import hashlib
import json
import logging
import os
import platform
import statistics
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from pydantic import TypeAdapter, ValidationError

from cbir.errors import UsageError
from cbir.images.preprocessing import Pixels
from cbir.records import Vector

log = logging.getLogger(__name__)

Provider = Literal["cpu", "openvino", "openvino-bf16"]

MIN_COSINE = 0.999
"""How much another provider's vectors may differ from onnxruntime's own before it is out of the question."""

MIN_GAIN = 1.1
"""How many times faster it has to be."""

_PACKAGE = "onnxruntime-ep-openvino"
_HINTS: Mapping[Provider, str] = MappingProxyType({"openvino": "f32", "openvino-bf16": "bf16"})
_BATCH, _ROUNDS = 4, 5
_REGISTERING = threading.Lock()


@dataclass(frozen=True)
class SelfTest:
    """What a self-test found: the provider to take, and each one's milliseconds an image and lowest cosine."""

    provider: Provider
    milliseconds: dict[Provider, float]
    cosine: dict[Provider, float]


_TESTS = TypeAdapter(dict[str, SelfTest])


def open_session(data: bytes, provider: Provider, threads: int) -> Any:
    """Return an onnxruntime session for a model file's bytes.

    Raises:
        UsageError: OpenVINO is not installed.
        Exception: What onnxruntime raises for a file that it cannot load; its errors share no base class.
    """
    import onnxruntime

    if provider == "cpu":
        return _open_exact(data, threads) if int8_overflows() else _open(data, threads)
    options = _options(threads)
    devices = _openvino_devices()
    if not devices:
        raise UsageError(f"CBIR_PROVIDER={provider} needs OpenVINO: pip install 'cbir[openvino]'")
    config = {"CPU": {"INFERENCE_PRECISION_HINT": _HINTS[provider]}}
    options.add_provider_for_devices(devices, {"num_of_threads": str(threads), "load_config": json.dumps(config)})
    return onnxruntime.InferenceSession(data, options)


def int8_overflows() -> bool:
    """Return whether onnxruntime's ordinary int8 arithmetic overflows here: on x86 processors without VNNI."""
    if platform.machine().lower() not in ("x86_64", "amd64", "i386", "i686"):
        return False
    return not {"avx512_vnni", "avx_vnni"} & set(" ".join(_processor()).split())


def choose_provider(data: bytes, model: str, threads: int, remembered: Path) -> Provider:
    """Return the fastest provider whose vectors are onnxruntime's own to a cosine of `MIN_COSINE`.

    Args:
        data: The model file's bytes.
        model: Its seal, by which the answer is remembered.
        threads: As many as the session will have.
        remembered: The file with the answers of this machine.
    """
    if not _openvino_devices():
        return "cpu"
    key = " ".join((model, str(threads), _machine(), version("onnxruntime"), version(_PACKAGE)))
    tests = _remembered(remembered)
    if key not in tests:
        try:
            tests[key] = test = self_test(data, threads)
        except Exception as error:  # whatever OpenVINO raises, onnxruntime can do without it
            log.warning("OpenVINO is left out, its self-test failed: %s", error)
            return "cpu"
        log.info("%s", _told(test))
        try:
            remembered.parent.mkdir(parents=True, exist_ok=True)
            draft = remembered.with_suffix(".tmp")
            draft.write_bytes(_TESTS.dump_json(tests, indent=1))
            draft.replace(remembered)
        except OSError as error:
            log.warning("the self-test cannot be remembered: %s: %s", remembered, error.strerror)
    return tests[key].provider


def self_test(data: bytes, threads: int) -> SelfTest:
    """Return what the providers give for made-up pictures, timed in turns."""
    sessions: dict[Provider, Any] = {"cpu": open_session(data, "cpu", threads)}
    for provider in _HINTS:
        try:
            sessions[provider] = open_session(data, provider, threads)
        except Exception as error:  # a graph that the plug-in cannot compile
            log.debug("%s: %s", provider, error)
    pixels = _pictures(sessions["cpu"].get_inputs()[0].shape[1])
    vectors: dict[Provider, Vector] = {}
    times: dict[Provider, list[float]] = {provider: [] for provider in sessions}
    for provider, session in sessions.items():
        vectors[provider] = session.run(None, {"images": pixels})[0]
    for _ in range(_ROUNDS):
        for provider, session in sessions.items():
            start = time.perf_counter()
            session.run(None, {"images": pixels[:_BATCH]})
            times[provider].append(time.perf_counter() - start)
    milliseconds = {name: round(statistics.median(spent) / _BATCH * 1e3, 3) for name, spent in times.items()}
    lowest = {name: float((found * vectors["cpu"]).sum(axis=1).min()) for name, found in vectors.items()}
    cosine = {name: round(value, 6) if np.isfinite(value) else 0.0 for name, value in lowest.items()}
    good = [
        name for name in sessions if cosine[name] >= MIN_COSINE and milliseconds[name] * MIN_GAIN <= milliseconds["cpu"]
    ]
    return SelfTest(min(good, key=milliseconds.__getitem__, default="cpu"), milliseconds, cosine)


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
    """Return a session whose int8 arithmetic cannot overflow: in unsigned 8 bits, or where that fails in floats."""
    try:
        return _open(data, threads, "session.x64quantprecision")
    except Exception:  # it fails for weights that several nodes share, in transformers
        return _open(data, threads, "session.disable_quant_qdq")


def _openvino_devices() -> list[Any]:
    """Return OpenVINO's CPU as onnxruntime sees it; an empty list without the plug-in."""
    import onnxruntime

    try:
        import onnxruntime_ep_openvino as plugin
    except ImportError:
        return []
    name = plugin.get_ep_name()

    def devices() -> list[Any]:
        return [one for one in onnxruntime.get_ep_devices() if one.ep_name == name and one.device.type.name == "CPU"]

    with _REGISTERING:
        if not devices():
            onnxruntime.register_execution_provider_library("openvino", plugin.get_library_path())
    return devices()


def _pictures(side: int) -> Pixels:
    """Return eight made-up pictures, uint8 (8, side, side, 3): waves and edges, so that every layer has work."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:side, 0:side] / side
    pictures = []
    for _ in range(8):
        planes = []
        for _ in range(3):
            a, b, c, d, e = rng.uniform(1, 9, 5)
            planes.append(127 + 60 * np.sin(a * x + b * y) + 60 * np.sign(np.sin(c * x - d * y + e)))
        pictures.append(np.stack(planes, axis=-1))
    return np.stack(pictures).astype(np.uint8)


def _remembered(path: Path) -> dict[str, SelfTest]:
    try:
        return _TESTS.validate_json(path.read_bytes())
    except (OSError, ValidationError):  # not there, or of another version: tested anew
        return {}


def _machine() -> str:
    """Return what tells this processor from others."""
    told = _processor() or [platform.machine(), platform.processor()]
    return hashlib.sha256("".join(told).encode()).hexdigest()[:16]


def _processor() -> list[str]:
    """Return what Linux says of the processor's kind and abilities, nothing elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
    return sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})


def _told(test: SelfTest) -> str:
    others = ", ".join(
        f"{name} {test.milliseconds[name]:.2f} ms at cosine {test.cosine[name]:.4f}"
        for name in test.milliseconds
        if name != "cpu"
    )
    return (
        f"self-test of OpenVINO: {test.provider} is taken (an image: onnxruntime {test.milliseconds['cpu']:.2f} ms,"
        f" {others}; the cosine has to be {MIN_COSINE}); remembered"
    )


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
