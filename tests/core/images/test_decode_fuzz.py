"""Mutation fuzzing of the decoder, in processes of its own, so that signals, hangs and excessive memory are detected.

A mutant depends only on the seed and its number. Other seeds: `FUZZ_SEED=7 pytest --soak` with the path of this file.
"""

import multiprocessing
import os
import random
import resource
import signal
import struct
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cbir.errors import ImageError
from cbir.images.decode import decode, thumbnail
from cbir.images.preprocessing import InputRule
from cbir.models.embedder import Embedder
from cbir.models.runtime import cores
from tests.support.hostile.damaged import broken_exif
from tests.support.hostile.encoders import ORIENTATION, encoded
from tests.support.hostile.files import STORED, HostileFile
from tests.support.hostile.sizes import extreme_dimensions
from tests.support.hostile.valid import animated, colour_modes

Make = Callable[[int], HostileFile]
Handle = Callable[[bytes], object]

# Children of the fork server, unlike those of this process, begin with a peak memory of their own.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["cbir.models.sealed", "hypothesis", "pytest"])

_ADDRESS_SPACE = 8 * 2**30
_MOST_PROBLEMS = 10
_NONE_YET = -1
_INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


@dataclass(frozen=True)
class Limits:
    """The limits for a file: CPU time, wall-clock time until it counts as hung, and peak memory."""

    cpu_seconds: float = 2.0
    wall_seconds: float = 30.0
    peak_bytes: int = 500_000_000


@dataclass(frozen=True)
class Problem:
    """A mutant and what went wrong with it."""

    number: int
    what: str


def mutant(seeds: Sequence[HostileFile], seed: int, number: int) -> HostileFile:
    """Return one mutant: always the same one for the same arguments."""
    chance = random.Random(f"{seed}/{number}")
    origin = chance.choice(seeds)
    data = bytearray(origin.data)
    for _ in range(chance.choice((1, 1, 2, 4, 8))):
        near = min(len(data), 100) if chance.random() < 0.5 else len(data)  # damaged headers do the most harm
        at = chance.randrange(near) if near else 0
        length = chance.randint(1, max(1, len(data) // 4))
        match chance.randrange(7):
            case 0 | 1:
                data[at : at + 1] = chance.randbytes(1)
            case 2 | 3:
                code = chance.choice(("B", "<H", ">H", "<I", ">I"))
                value = chance.choice(_INTERESTING) % 256 ** struct.calcsize(code)
                data[at : at + struct.calcsize(code)] = struct.pack(code, value)
            case 4:
                del data[at : at + length]
            case 5:
                data[at:at] = data[at : at + length]
            case 6:
                other = chance.choice(seeds).data
                data[at : at + length] = other[at : at + length]
    if data.startswith(b"\x89PNG") and chance.random() < 0.7:
        mend_checksums(data)
    return HostileFile(f"FUZZ_SEED {seed}, number {number}, of {origin.name}", bytes(data), "")


def mend_checksums(data: bytearray) -> None:
    """Make a PNG file's checksums right, or the reader would look at nothing behind them."""
    at = 8
    while at + 12 <= len(data):
        end = at + 8 + struct.unpack_from(">I", data, at)[0]
        if end + 4 > len(data):
            return
        struct.pack_into(">I", data, end, zlib.crc32(data[at + 4 : end]))
        at = end + 4


def prepare(rule: InputRule, data: bytes) -> None:
    """Prepare a file as an ingest does before the model runs."""
    image = decode(data, shortest=2 * rule.resize)
    rule.pixels(image)
    thumbnail(image, data)


def work(make: Make, handle: Handle, numbers: range, limits: Limits, current: Any, problems: Connection) -> None:
    """Try the files in a process of its own; `current` holds the number. Send the first problem, or "", and end."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
    what = ""
    for number in numbers:
        data = make(number).data
        current.value = number
        started = time.process_time()
        try:
            handle(data)
        except ImageError:
            pass
        except BaseException as error:
            what = f"raised {type(error).__name__}: {error}"
        spent = time.process_time() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        if spent > limits.cpu_seconds:
            what = f"took {spent:.1f} s"
        if peak > limits.peak_bytes:
            what = f"took the process to {peak / 1e6:,.0f} MB"
        if what:
            break
    problems.send(what)


def fuzz(make: Make, count: int, handle: Handle, limits: Limits = Limits()) -> list[Problem]:
    """Handle the files with the numbers below `count` on all cores; return what went wrong."""
    lanes = min(cores(), count)

    def lane(first: int) -> list[Problem]:
        found: list[Problem] = []
        numbers = range(first, count, lanes)
        while numbers and len(found) < _MOST_PROBLEMS:
            current = _CONTEXT.RawValue("q", _NONE_YET)
            receiver, sender = _CONTEXT.Pipe(duplex=False)
            process = _CONTEXT.Process(target=work, args=(make, handle, numbers, limits, current, sender))
            process.start()
            sender.close()
            if wait(process, current, limits.wall_seconds):
                what = f"did not end within {limits.wall_seconds:g} s"
            elif process.exitcode:
                code = process.exitcode
                what = f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            else:
                what = receiver.recv()
            receiver.close()
            if not what:
                break
            number = numbers[0] if current.value == _NONE_YET else current.value
            found.append(Problem(number, what))
            numbers = numbers[numbers.index(number) + 1 :]
        return found

    with ThreadPoolExecutor(lanes) as pool:
        return [problem for found in pool.map(lane, range(lanes)) for problem in found]


def wait(process: Any, current: Any, wall_seconds: float) -> bool:
    """Wait for a process to end; kill it, and return True, if it stays at one file for too long.

    Its start does not count: on a busy machine it may take longer than any file.
    """
    last, since = _NONE_YET, time.monotonic()
    while process.exitcode is None:
        process.join(0.1)
        if last == _NONE_YET or current.value != last:
            last, since = current.value, time.monotonic()
        elif time.monotonic() - since > wall_seconds:
            process.kill()
            process.join()
            return True
    return False


def require_none(problems: list[Problem], make: Make, folder: Path) -> None:
    """Fail with the names of the files that went wrong, and write them to `folder`."""
    found = []
    for problem in problems:
        file = make(problem.number)
        path = folder / f"{problem.number}-{Path(file.name).name}"
        path.write_bytes(file.data)
        found.append(f"{path} ({file.name}) {problem.what}")
    if found:
        pytest.fail("\n".join(found))


@pytest.fixture(scope="module")
def seeds() -> list[HostileFile]:
    """Good files of every kind, small enough for many mutants."""
    good = [*colour_modes(), *animated(), *broken_exif(), *extreme_dimensions()]
    return [file for file in good if file.outcome == STORED and len(file.data) < 30_000]


def test_no_mutant_harms_the_process_that_decodes_it(
    seeds: list[HostileFile], embedder: Embedder, soak: bool, tmp_path: Path
) -> None:
    seed = int(os.environ.get("FUZZ_SEED", "0"))
    make = partial(mutant, seeds, seed)
    problems = fuzz(make, 100_000 if soak else 5_000, partial(prepare, embedder.card.input))
    require_none(problems, make, tmp_path)


def test_a_mutant_is_made_of_its_number_alone(seeds: list[HostileFile]) -> None:
    once, again, others = ([mutant(seeds, seed, number).data for number in range(200)] for seed in (3, 3, 4))
    assert once == again
    assert len(set(once)) > 190
    assert sum(a == b for a, b in zip(once, others, strict=True)) < 10


def large_images() -> list[HostileFile]:
    """Return files of just under 40 megapixels of the kinds that take most copies on the way to RGB."""
    width, height = 6660, 6000
    turned = Image.Exif()
    turned[ORIENTATION] = 6
    rgb = Image.new("RGB", (width, height), (200, 10, 10))
    rgba = Image.new("RGBA", (width, height), (200, 10, 10, 100))
    floats = Image.fromarray(np.full((height, width), 1000, np.float32))
    files = {
        "rgba.png": encoded(rgba, "PNG", compress_level=1, exif=turned),
        "key.png": encoded(rgb, "PNG", compress_level=1, transparency=(1, 2, 3)),
        "float.tif": encoded(floats, "TIFF", compression="tiff_lzw"),
    }
    return [HostileFile(name, data, STORED) for name, data in files.items()]


def whole(files: Sequence[HostileFile], number: int) -> HostileFile:
    """Return a file as it is."""
    return files[number]


def test_the_largest_images_stay_within_the_memory(embedder: Embedder, tmp_path: Path) -> None:
    with _CONTEXT.Pool(1) as pool:  # which takes the memory that making them needs with it
        files = pool.apply(large_images)
    make = partial(whole, files)
    problems = fuzz(make, len(files), partial(prepare, embedder.card.input), Limits(cpu_seconds=20))
    require_none(problems, make, tmp_path)


def raising(data: bytes) -> None:
    raise KeyError("planted")


def sleeping(data: bytes) -> None:
    time.sleep(3600)


def spinning(data: bytes) -> None:
    until = time.process_time() + 0.6
    while time.process_time() < until:
        pass


def hoarding(data: bytes) -> None:
    np.ones(600_000_000, np.uint8)


def dying(data: bytes) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


@pytest.mark.parametrize(
    ("handle", "limits", "what"),
    [
        (raising, Limits(), "raised KeyError: 'planted'"),
        (sleeping, Limits(wall_seconds=2), "did not end within 2 s"),
        (spinning, Limits(cpu_seconds=0.5), "took 0."),
        (hoarding, Limits(), "took the process to "),
        (dying, Limits(), "ended by SIGSEGV"),
    ],
)
def test_the_harness_sees_every_kind_of_planted_bug(
    handle: Handle, limits: Limits, what: str, seeds: list[HostileFile], tmp_path: Path
) -> None:
    make = partial(mutant, seeds, 0)
    problems = fuzz(make, 3, handle, limits)
    assert sorted(problem.number for problem in problems) == [0, 1, 2]
    assert all(problem.what.startswith(what) for problem in problems), problems
    with pytest.raises(pytest.fail.Exception, match=what):
        require_none(problems, make, tmp_path)
    assert len(list(tmp_path.iterdir())) == 3
