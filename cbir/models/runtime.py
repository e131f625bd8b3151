"""Runs a model with onnxruntime's CPU code, or with OpenVINO if it is installed, faster and gives the same vectors.

A self-test of some seconds chooses between them, once for each model, machine and number of threads. OpenVINO is a
plug-in of onnxruntime: the package `onnxruntime-ep-openvino`, in the extra `openvino`.
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
"""The lowest cosine to onnxruntime's own vectors with which another provider is accepted."""

MIN_GAIN = 1.1
"""How many times faster than onnxruntime it has to be."""

_PACKAGE = "onnxruntime-ep-openvino"
_HINTS: Mapping[Provider, str] = MappingProxyType({"openvino": "f32", "openvino-bf16": "bf16"})
_BATCH, _ROUNDS = 4, 5
_REGISTRATION = threading.Lock()


@dataclass(frozen=True)
class SelfTest:
    """The result of a self-test: the best provider, and the milliseconds per image and lowest cosine of each."""

    provider: Provider
    milliseconds: dict[Provider, float]
    cosine: dict[Provider, float]


_TESTS = TypeAdapter(dict[str, SelfTest])


def open_session(data: bytes, provider: Provider, threads: int) -> Any:
    """Return an onnxruntime session for a model file's bytes; raise `UsageError` if OpenVINO is not installed."""
    import onnxruntime

    if provider == "cpu":
        return _open_exact(data, threads) if int8_overflows() else _open(data, threads)
    options = _options(threads)
    devices = _openvino_devices()
    if not devices:
        raise UsageError(f"CBIR_PROVIDER={provider} needs OpenVINO. Install it: pip install 'cbir[openvino]'")
    config = {"CPU": {"INFERENCE_PRECISION_HINT": _HINTS[provider]}}
    options.add_provider_for_devices(devices, {"num_of_threads": str(threads), "load_config": json.dumps(config)})
    return onnxruntime.InferenceSession(data, options)


def int8_overflows() -> bool:
    """Return True if onnxruntime's default int8 arithmetic overflows here: on x86 processors without VNNI."""
    if platform.machine().lower() not in ("x86_64", "amd64", "i386", "i686"):
        return False
    return not {"avx512_vnni", "avx_vnni"} & set(" ".join(_processor()).split())


def choose_provider(data: bytes, model: str, threads: int, cache: Path) -> Provider:
    """Return the fastest provider whose vectors have a cosine of at least `MIN_COSINE` to onnxruntime's.

    `model` is the file's checksum, and `cache` the file with the results of earlier self-tests.
    """
    if not _openvino_devices():
        return "cpu"
    key = " ".join((model, str(threads), _machine(), version("onnxruntime"), version(_PACKAGE)))
    try:
        tests = _TESTS.validate_json(cache.read_bytes())
    except (OSError, ValidationError):  # missing, or of another version
        tests = {}
    if key not in tests:
        try:
            tests[key] = self_test(data, threads)
        except Exception as error:  # onnxruntime works without OpenVINO, whatever it raises
            log.warning("OpenVINO is not used, its self-test failed: %s", error)
            return "cpu"
        log.info("%s", _summary(tests[key]))
        try:
            cache.parent.mkdir(parents=True, exist_ok=True)
            draft = cache.with_suffix(".tmp")
            draft.write_bytes(_TESTS.dump_json(tests, indent=1))
            draft.replace(cache)
        except OSError as error:
            log.warning("the result of the self-test cannot be saved: %s: %s", cache, error.strerror)
    return tests[key].provider


def self_test(data: bytes, threads: int) -> SelfTest:
    """Return the speed and the accuracy of each provider on made-up images, timed in turns."""
    sessions: dict[Provider, Any] = {"cpu": open_session(data, "cpu", threads)}
    for provider in _HINTS:
        try:
            sessions[provider] = open_session(data, provider, threads)
        except Exception as error:  # the plug-in cannot compile every graph
            log.debug("%s: %s", provider, error)
    pixels = _test_images(sessions["cpu"].get_inputs()[0].shape[1])
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
    lowest = {name: float((rows * vectors["cpu"]).sum(axis=1).min()) for name, rows in vectors.items()}
    cosine = {name: round(value, 6) if np.isfinite(value) else 0.0 for name, value in lowest.items()}
    limit = milliseconds["cpu"] / MIN_GAIN
    good = [name for name in sessions if cosine[name] >= MIN_COSINE and milliseconds[name] <= limit]
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
    """Return a session whose int8 arithmetic cannot overflow: it uses unsigned 8 bits, or floats if that fails."""
    try:
        return _open(data, threads, "session.x64quantprecision")
    except Exception:  # it fails for weights shared by several nodes, as in transformers
        return _open(data, threads, "session.disable_quant_qdq")


def _openvino_devices() -> list[Any]:
    """Return OpenVINO's CPU devices in onnxruntime; an empty list without the plug-in."""
    import onnxruntime

    try:
        import onnxruntime_ep_openvino as plugin
    except ImportError:
        return []
    name = plugin.get_ep_name()

    def devices() -> list[Any]:
        found = onnxruntime.get_ep_devices()
        return [device for device in found if device.ep_name == name and device.device.type.name == "CPU"]

    with _REGISTRATION:
        if not devices():
            onnxruntime.register_execution_provider_library("openvino", plugin.get_library_path())
    return devices()


def _test_images(side: int) -> Pixels:
    """Return eight made-up images with waves and edges, uint8 (8, side, side, 3)."""
    a, b, c, d, e = np.random.default_rng(0).uniform(1, 9, (5, 8, 1, 1, 3))
    y, x = (axis[:, :, None] / side for axis in np.mgrid[0:side, 0:side])
    waves = 127 + 60 * np.sin(a * x + b * y) + 60 * np.sign(np.sin(c * x - d * y + e))
    return np.asarray(waves, np.uint8)


def _machine() -> str:
    """Return an identifier of this processor's model."""
    described = _processor() or [platform.machine(), platform.processor()]
    return hashlib.sha256("".join(described).encode()).hexdigest()[:16]


def _processor() -> list[str]:
    """Return the processor's model and features on Linux, an empty list elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
    return sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})


def _summary(test: SelfTest) -> str:
    results = (f"{name} {spent:.2f} ms at cosine {test.cosine[name]:.4f}" for name, spent in test.milliseconds.items())
    return f"self-test of OpenVINO: {test.provider} is used (per image: {', '.join(results)}; needed {MIN_COSINE})"


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
