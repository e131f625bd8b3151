"""Chooses how a model runs here, by a self-test of about a second: on which device, and in int8 or fp32.

A device is chosen only if it is faster than onnxruntime's CPU code and gives the same vectors, int8 only if it is much
faster than fp32. The result is remembered for each model, machine and number of threads.
"""

import logging
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from cbir.devices import Arithmetic, Device
from cbir.images.preprocessing import Pixels
from cbir.models.runtime import OPENVINO_PACKAGE, PROVIDERS, machine_id, open_session
from cbir.models.sealed import checksum_of
from cbir.records import Vector
from cbir.text import one_line

log = logging.getLogger(__name__)

MIN_COSINE = 0.999
"""The lowest cosine to the vectors of onnxruntime's CPU code with which another device is accepted."""

MIN_GAIN = 1.1
"""How many times faster than onnxruntime's CPU code a device has to be."""

MIN_INT8_GAIN = 1.3
"""How many times faster than fp32 int8 has to be."""

_BATCH, _ROUNDS = 4, 5


@dataclass(frozen=True)
class Choice:
    """How to run a model. What was measured for it is by the name of the candidate, such as `int8 on cpu`.

    `milliseconds` are per image; `cosine` is the lowest to the vectors that the same file gives on the CPU.
    """

    precision: Arithmetic
    device: Device
    milliseconds: Mapping[str, float]
    cosine: Mapping[str, float]


_CHOICES = TypeAdapter(dict[str, Choice])


def choose(files: Mapping[Arithmetic, bytes], others: Sequence[Device], threads: int, cache: Path) -> Choice:
    """Return the best way to run one of the files of a model on the processor, or on one of the other devices.

    Without another file or device there is nothing to test. The folder `cache` has the results of earlier self-tests.
    """
    first = next(iter(files))
    untested = Choice(first, "cpu", {}, {})
    if len(files) == 1 and not others:
        return untested
    kept = cache / "self-tests.json"
    key = " ".join((*map(checksum_of, files.values()), *others, str(threads), machine_id(), *_versions()))
    if found := _kept(kept).get(key):
        return found
    try:
        choice = self_test(files, others, threads)
    except Exception as error:  # a model must also run where a driver or a plug-in is broken, whatever it raises
        reason = one_line(error)[:300]
        log.warning("warning: %s on the cpu is used, because the self-test failed: %s", first, reason)
        return untested
    log.info("%s", _summary(choice))
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=cache, prefix=kept.stem, delete=False) as draft:
            draft.write(_CHOICES.dump_json(_kept(kept) | {key: choice}, indent=1))
        Path(draft.name).replace(kept)
    except OSError as error:
        log.warning("warning: the result of the self-test cannot be saved: %s: %s", kept, error.strerror)
    return choice


def _kept(path: Path) -> dict[str, Choice]:
    """Return the results of earlier self-tests; none if the file is missing, or of another version."""
    try:
        return _CHOICES.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return {}


def self_test(files: Mapping[Arithmetic, bytes], others: Sequence[Device], threads: int) -> Choice:
    """Return the choice after timing every file on every device in turns, with made-up images."""
    sessions: dict[tuple[Arithmetic, Device], Any] = {
        (precision, "cpu"): open_session(data, "cpu", threads) for precision, data in files.items()
    }
    for precision, device in product(files, others):
        try:
            sessions[precision, device] = open_session(files[precision], device, threads)
        except Exception as error:  # a device cannot compile every graph
            log.debug("%s on %s: %s", precision, device, error)
    pixels = _test_images(next(iter(sessions.values())).get_inputs()[0].shape[1])
    vectors: dict[tuple[Arithmetic, Device], Vector] = {
        candidate: session.run(None, {"images": pixels})[0] for candidate, session in sessions.items()
    }
    times: dict[tuple[Arithmetic, Device], list[float]] = {candidate: [] for candidate in sessions}
    for _ in range(_ROUNDS):
        for candidate, session in sessions.items():
            start = time.perf_counter()
            session.run(None, {"images": pixels[:_BATCH]})
            times[candidate].append((time.perf_counter() - start) / _BATCH * 1e3)
    spent = {candidate: statistics.median(taken) for candidate, taken in times.items()}
    cosine = {candidate: _lowest(rows, vectors[candidate[0], "cpu"]) for candidate, rows in vectors.items()}
    best = {
        precision: min(
            (
                (precision, device)
                for name, device in sessions
                if name == precision
                and cosine[precision, device] >= MIN_COSINE
                and spent[precision, device] * MIN_GAIN <= spent[precision, "cpu"]
            ),
            key=spent.__getitem__,
            default=(precision, "cpu"),
        )
        for precision in files
    }
    chosen = next(iter(best.values()))
    if "int8" in best and spent[best["int8"]] * MIN_INT8_GAIN <= spent[chosen]:
        chosen = best["int8"]
    return Choice(
        *chosen,
        {_name(candidate): round(taken, 3) for candidate, taken in spent.items()},
        {_name(candidate): round(value, 6) for candidate, value in cosine.items()},
    )


def _lowest(vectors: Vector, expected: Vector) -> float:
    lowest = float((vectors * expected).sum(axis=1).min())
    return lowest if np.isfinite(lowest) else 0.0


def _name(candidate: tuple[str, str]) -> str:
    return " on ".join(candidate)


def _versions() -> list[str]:
    """Return the versions of the packages that run models here."""
    found = []
    for package in ("onnxruntime", OPENVINO_PACKAGE, *(provider.package for provider in PROVIDERS.values())):
        try:
            found.append(version(package))
        except PackageNotFoundError:
            found.append("-")
    return found


def _test_images(side: int) -> Pixels:
    """Return eight made-up images with waves and edges, uint8 (8, side, side, 3)."""
    a, b, c, d, e = np.random.default_rng(0).uniform(1, 9, (5, 8, 1, 1, 3))
    y, x = (axis[:, :, None] / side for axis in np.mgrid[0:side, 0:side])
    waves = 127 + 60 * np.sin(a * x + b * y) + 60 * np.sign(np.sin(c * x - d * y + e))
    return np.asarray(waves, np.uint8)


def _summary(choice: Choice) -> str:
    spent = choice.milliseconds
    lines = (f"{name} {taken:.2f} ms at cosine {choice.cosine[name]:.4f}" for name, taken in spent.items())
    return f"self-test: {_name((choice.precision, choice.device))} is used (per image: {', '.join(lines)})"
