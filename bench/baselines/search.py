"""The stores of a collection and other search libraries with the same vectors: how fast each is at the same recall.

Every candidate builds its own index of all points but those that are searched for or added. Each step is a process of
its own. All candidates, at every ef, take turns in a random order each round, so that whatever else the machine does
slows all of them alike.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from multiprocessing import Pipe
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

import numpy as np
import psutil

from cbir import terminal
from cbir.errors import UsageError
from cbir.models.runtime import cores
from cbir.records import Vector
from cbir.stores.base import StoreInfo
from cbir.tables import Column, Range
from cbir.text import redacted

from ..core.measured_process import SAMPLE_SECONDS, process_tree
from ..core.metrics import summarise
from ..core.ranking import recall
from ..core.stores import ef_values, location_of, unique_names
from ..core.timing import Times, spread, times
from ..core.workload import Workload
from . import libraries, own_store, search_worker

EFS = (10, 12, 16, 20, 24, 32, 40, 48, 64, 96, 128, 192)
M, EF_CONSTRUCT = 16, 100
ADDED = 100
"""Points that are added at once, in each round."""

_BUILD_SECONDS = 900.0
_TURN_SECONDS = 300.0
_FOUND_SECONDS = 60.0  # less than a turn, so that the worker says what is wrong


@dataclass(frozen=True)
class Step:
    """A candidate at one ef or nprobe, None for a scan: its times, and the mean recall of the very same searches.

    `recall_p5` is that of a query, and 5 in 100 queries are no better. `median_ms` is the spread of `rounds_ms`, the
    median of the queries in each round, and `batch_per_second` that of all queries given at once.
    """

    ef: int | None
    recall: float
    recall_p5: float
    recall_min: float
    search_ms: Times
    median_ms: Range
    rounds_ms: list[float] = field(default_factory=list)
    batch_recall: float | None = None
    batch_per_second: Range | None = None


_AT_RECALL = (
    (Column("ef or nprobe", format="d"), "ef"),
    (Column("recall", format=".4f", floor=True), "recall"),
    (Column("p5", format=".3f", detail=True, floor=True), "recall_p5"),
    (Column("search", "ms", ".3f", better="lower"), "median_ms"),
    (Column("p99", "ms", ".3f"), "search_ms.p99"),
    (Column("in a batch", "queries/s", ",.0f", better="higher"), "batch_per_second"),
)


@dataclass(frozen=True)
class Candidate:
    """One store or library.

    `ours` is true for a store of cbir, and `missing` says why there are no numbers. `build_seconds` last until the
    index is on the disk. `build_megabytes` is the most memory of all its processes while it builds, its vectors
    included, and `megabytes` the memory while it searches. `open_ms` is the time of a new process for opening it and a
    first search, `add_ms` that until more points are durable and found, `rounds_add_ms` that of each round; `not_added`
    says why there is none. `at_recall` is the first step that reaches the wanted recall, None if none does.
    """

    name: str
    ours: bool
    missing: str = ""
    version: str = ""
    at_recall: Annotated[Step | None, _AT_RECALL] = None
    build_seconds: Annotated[float | None, Column("build", "s", ",.1f")] = None
    open_ms: Annotated[Range | None, Column("open", "ms", ",.0f", better="lower")] = None
    add_ms: Annotated[Range | None, Column("add", "ms", ",.0f", better="lower")] = None
    megabytes: Annotated[float | None, Column("memory", "MB", ",.0f")] = None
    build_megabytes: Annotated[float | None, Column("while building", "MB", ",.0f", detail=True)] = None
    curve: list[Step] = field(default_factory=list)
    rounds_add_ms: list[float] = field(default_factory=list)
    not_added: str = ""

    @property
    def median_ms(self) -> float | None:
        """Milliseconds of a search at the wanted recall, None if it is not reached."""
        return self.at_recall.median_ms.value if self.at_recall else None


class _Candidate:
    """A candidate and what was measured so far. Once it has failed, `missing` says why, and it gets no more work.

    If only adding points failed, `not_added` says why, and what was measured before is kept.
    By ef, where None is a scan, `recalls` has the recall of each timed search, and `rounds` their milliseconds. `facts`
    are what its processes said of memory, version and the time of building.
    """

    def __init__(self, command: Sequence[str], job: Mapping[str, Any], efs: Sequence[int | None]):
        self.name, self.efs, self._command, self._job = str(job["name"]), efs, command, job
        self.missing, self.not_added, self.facts = "", "", dict[str, Any]()
        self.recalls: dict[int | None, list[float]] = defaultdict(list)
        self.rounds: dict[int | None, list[list[float]]] = defaultdict(list)
        self.batch_recalls: dict[int | None, list[float]] = defaultdict(list)
        self.batch_rates: dict[int | None, list[float]] = defaultdict(list)
        self.opens: list[float] = []
        self.additions: list[float] = []
        self._errors = Path(f"{job['folder']}.stderr")
        self._process: subprocess.Popen[bytes] | None = None
        Path(job["folder"]).mkdir()

    def build(self) -> None:
        """Build the index in a process that then ends."""
        process, most, until = psutil.Process(self._start("build")), 0.0, time.monotonic() + _BUILD_SECONDS
        while not self._channel.poll(SAMPLE_SECONDS) and time.monotonic() < until:
            most = max(most, sum(megabytes for _, megabytes in process_tree(process).values()))
        answer = self._answer(0, _BUILD_SECONDS)
        if answer:
            self.facts |= answer | {"build_megabytes": max(most, answer["build_megabytes"])}
        self.close()

    def open(self) -> None:
        """Open the index in a new process, which stays until it is opened again or closed."""
        self.close()
        if not self.missing:
            self._start("open")
            self.opens += self._answer(_TURN_SECONDS).values()

    def search(self, workload: Workload, ef: int | None, seconds: float, counted: bool = True) -> None:
        """Time the queries once, and take the recall of the very same answers."""
        answer = self._order({"ef": ef, "seconds": seconds})
        if answer and counted:
            self.facts["megabytes"] = answer["megabytes"]
            self.recalls[ef] += _recalls(workload, answer["hits"])
            self.batch_recalls[ef] += _recalls(workload, answer["batch_hits"])
            self.rounds[ef].append(answer["ms"])
            self.batch_rates[ef].append(len(answer["batch_hits"]) / answer["batch_seconds"])

    def grow(self, number: int) -> None:
        """Add the points of a round. A failure leaves what was measured before."""
        if not self.missing and not self.not_added:
            self.additions += self._order({"round": number, "ef": self.efs[-1]}).values()
            self.missing, self.not_added = "", self.missing

    def close(self) -> None:
        """End its process."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._channel.close()
            self._process = None

    def result(self, target: float) -> Candidate:
        """Return what was measured; `target` is the wanted recall."""
        candidate = Candidate(self.name, self._job["library"] in own_store.LIBRARIES, self.missing)
        if self.missing:
            return candidate
        curve = [self._step(ef) for ef in self.efs]
        return replace(
            candidate,
            **self.facts,
            open_ms=spread(self.opens),
            add_ms=spread(self.additions) if self.additions and not self.not_added else None,
            rounds_add_ms=[] if self.not_added else self.additions,
            not_added=self.not_added,
            curve=curve,
            at_recall=next((step for step in curve if step.recall >= target), None),
        )

    def _step(self, ef: int | None) -> Step:
        recalls, medians = summarise(self.recalls[ef]), [float(np.median(spent)) for spent in self.rounds[ef]]
        assert recalls.mean is not None and recalls.p5 is not None and recalls.worst is not None  # noqa: S101 - searched
        return Step(
            ef=ef,
            recall=recalls.mean,
            recall_p5=recalls.p5,
            recall_min=recalls.worst,
            search_ms=times(np.concatenate(self.rounds[ef])),
            median_ms=spread(medians),
            rounds_ms=medians,
            batch_recall=float(np.mean(self.batch_recalls[ef])),
            batch_per_second=spread(self.batch_rates[ef]),
        )

    def _start(self, phase: str) -> int:
        self._channel, theirs = Pipe()
        with self._errors.open("wb") as errors, theirs:
            number = theirs.fileno()
            words = [*self._command, json.dumps({**self._job, "phase": phase}), str(number)]
            self._process = subprocess.Popen(words, stdout=errors, stderr=errors, pass_fds=[number])
        return self._process.pid

    def _order(self, order: Mapping[str, Any]) -> dict[str, Any]:
        if self.missing:
            return {}
        with suppress(OSError):  # the process has ended; its answer says why
            self._channel.send(dict(order))
        return self._answer(_TURN_SECONDS)

    def _answer(self, seconds: float, waited: float = 0.0) -> dict[str, Any]:
        """Return the next answer; nothing if the process ended or takes too long, and `missing` then says why.

        It has been `waited` for already.
        """
        assert self._process is not None  # noqa: S101 - it was started
        try:
            if self._channel.poll(seconds):
                return dict(self._channel.recv())
            self.missing = f"took more than {seconds + waited:.0f} s"
            self._process.kill()
        except (EOFError, OSError):
            self.missing = self._reason(self._process.wait())
        return {}

    def _reason(self, code: int) -> str:
        lines = [line for line in self._errors.read_text(errors="replace").splitlines() if line.strip()]
        last = lines[-1] if lines else f"exit code {code}"
        missing = last.startswith("ModuleNotFoundError")
        return f"not installed: {last.partition(': ')[2]}" if missing else f"failed: {last}"


def measure(
    workload: Workload, added: Vector, names: Sequence[str], python: str, target: float, rounds: int, seconds: float
) -> list[Candidate]:
    """Return what was measured of each store of the workload and of each library, which `python` has.

    They are compared at the recall `target`. After `seconds`, a turn starts no further query. `added` are the vectors
    that are added to the indexes, a share in each round.
    """
    with tempfile.TemporaryDirectory(prefix="cbir-bench-") as folder, ExitStack() as stack:
        candidates = [_Candidate(*job) for job in _jobs(workload, added, names, python, Path(folder), rounds)]
        cases = [(candidate, ef) for candidate in candidates for ef in candidate.efs]
        total = (2 + 2 * rounds) * len(candidates) + rounds * len(cases)
        advance = stack.enter_context(terminal.progress("measuring", total, "turns"))
        rng = np.random.default_rng(workload.seed)

        def in_turns(count: int) -> Iterator[int]:
            for index in rng.permutation(count).tolist():
                yield index
                advance(1)

        for candidate in candidates:
            stack.callback(candidate.close)
            candidate.build()
            advance(1)
        for _ in range(rounds):
            for index in in_turns(len(candidates)):
                candidates[index].open()
        for index in in_turns(len(candidates)):
            candidates[index].search(workload, candidates[index].efs[-1], seconds, counted=False)
        for _ in range(rounds):
            for index in in_turns(len(cases)):
                candidate, ef = cases[index]
                candidate.search(workload, ef, seconds)
        for number in range(rounds if len(added) >= rounds else 0):
            for index in in_turns(len(candidates)):
                candidates[index].grow(number)
        return [candidate.result(target) for candidate in candidates]


def _jobs(
    workload: Workload, added: Vector, names: Sequence[str], python: str, folder: Path, rounds: int
) -> Iterator[tuple[list[str], dict[str, Any], Sequence[int | None]]]:
    """Yield the arguments of `_Candidate` for each store and library, whose data is then in the folder."""
    truth = workload.truth
    for name, vectors in {"vectors": truth.vectors, "queries": workload.vectors, "added": added}.items():
        np.save(folder / f"{name}.npy", vectors)
    (folder / "ids.json").write_text(json.dumps(list(truth.position)))
    common = {
        "data": str(folder), "k": workload.k, "dimension": truth.vectors.shape[1], "m": M, "threads": cores(),
        "ef_construct": EF_CONSTRUCT, "added": len(added) // rounds, "seconds": _FOUND_SECONDS,
    }  # fmt: skip
    efs = sorted({max(ef, workload.k) for ef in EFS})  # a graph gives at most ef hits
    short = unique_names([info.url for info in workload.infos])
    for number, info in enumerate(workload.infos):
        place = folder / f"store-{number}"
        own = {"name": f"cbir {short[info.url]}", "library": "cbir", "module": own_store.__name__}
        source = {"url": info.url, "collection": info.collection, "target": _target(info, place)}
        job = {**common, **own, **source, "folder": str(place)}
        wanted = EFS if info.access == "graph" else ()  # EFS are no numbers of inverted lists
        yield [sys.executable, search_worker.__file__], job, ef_values(info, wanted, workload.k)
    for name in names:
        job = {**common, "name": name, "library": name, "module": "baselines.libraries", "folder": str(folder / name)}
        scans = libraries.LIBRARIES[name].scans
        yield [python, search_worker.__file__], job, [None] if scans else efs


def _target(info: StoreInfo, folder: Path) -> str:
    """Return the URL of a store in a folder that has the engine and all options of another, also those of its build."""
    location = location_of(info.url)
    if location is None:
        raise UsageError(
            f"{redacted(info.url)} is a server, whose index cannot be built without the held-out points. Use edge: or"
            " faiss:."
        )
    return f"{location.url.scheme}:{folder / location.name}?{urlencode(info.options)}"


def _recalls(workload: Workload, found: Sequence[Sequence[int]]) -> list[float]:
    """Return the recall of the first queries from the positions of their hits."""
    truth, recalls = workload.truth, []
    for number, hits in enumerate(found):
        distinct = list(dict.fromkeys(hits))[: workload.k]
        scores = truth.vectors[distinct].astype(np.float64) @ truth.queries[number].astype(np.float64)
        recalls.append(recall(scores.tolist(), float(truth.threshold[number]), workload.k))
    return recalls
