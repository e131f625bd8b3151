"""The process of one candidate: it builds its index, then answers queries line by line (see `search_worker`)."""

import json
import subprocess
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..core.ranking import recall
from ..core.workload import Workload

_BUILD_SECONDS = 900.0
_TURN_SECONDS = 300.0
_FIND_SECONDS = 15.0


@dataclass
class CandidateProcess:
    """A candidate's process, and what was measured so far. Once it has failed, it gets no more queries.

    `job` is what the process is given, and `missing` says why it failed. `built` is what it printed when its index was
    ready. By ef, where None is a scan, `recalls` has the recall of each query, and `rounds` their milliseconds.
    """

    name: str
    workload: Workload
    command: Sequence[str]
    job: Mapping[str, Any]
    efs: Sequence[int | None]
    process: subprocess.Popen[bytes] | None = None
    missing: str = ""
    built: dict[str, Any] = field(default_factory=dict)
    megabytes: float | None = None
    recalls: dict[int | None, list[float]] = field(default_factory=dict)
    rounds: dict[int | None, list[list[float]]] = field(default_factory=lambda: defaultdict(list))

    @property
    def _errors(self) -> Path:
        return Path(f"{self.job['folder']}.stderr")

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            for pipe in (self.process.stdin, self.process.stdout):
                with suppress(BrokenPipeError):
                    pipe.close()  # type: ignore[union-attr]

    def build(self) -> None:
        """Start the process and wait until its index is ready."""
        Path(self.job["folder"]).mkdir()
        with self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [*self.command, json.dumps(self.job)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
            )
        self.built = self._answer(_BUILD_SECONDS)

    def find(self, ef: int | None) -> None:
        """Search for all queries, untimed, to get their recall; a scan in Python may not finish all of them."""
        found = self._search(ef, _FIND_SECONDS, hits=True)
        if not found:
            return
        workload, truth = self.workload, self.workload.truth
        self.megabytes = found["megabytes"]
        self.recalls[ef] = []
        for row, hits in enumerate(found["hits"]):
            query = int(truth.queries[row])
            others = [hit for hit in dict.fromkeys(hits) if hit != query][: workload.k]
            scores = truth.vectors[others].astype(np.float64) @ truth.vectors[query].astype(np.float64)
            self.recalls[ef].append(recall(scores.tolist(), float(truth.threshold[row]), workload.k))

    def time(self, ef: int | None, seconds: float) -> None:
        """Time the queries once."""
        if found := self._search(ef, seconds):
            self.rounds[ef].append(found["ms"])

    def _search(self, ef: int | None, seconds: float, hits: bool = False) -> dict[str, Any]:
        if self.missing or self.process is None or self.process.stdin is None:
            return {}
        with suppress(BrokenPipeError):  # the process has ended; its answer says why
            self.process.stdin.write(json.dumps({"ef": ef, "seconds": seconds, "hits": hits}).encode() + b"\n")
            self.process.stdin.flush()
        return self._answer(_TURN_SECONDS)

    def _answer(self, seconds: float) -> dict[str, Any]:
        """Return the next line; nothing if the process ended or takes too long, and `missing` then says why."""
        process = self.process
        assert process is not None and process.stdout is not None  # noqa: S101 - `build` has started it
        timer = threading.Timer(seconds, process.kill)
        timer.start()
        try:
            line = process.stdout.readline()
        finally:
            overdue = not timer.is_alive()
            timer.cancel()
        try:
            return dict(json.loads(line))
        except ValueError:
            self.missing = f"took more than {seconds:.0f} s" if overdue else self._reason(process.wait())
            return {}

    def _reason(self, code: int) -> str:
        lines = [line for line in self._errors.read_text(errors="replace").splitlines() if line.strip()]
        last = lines[-1] if lines else f"exit code {code}"
        missing = last.startswith("ModuleNotFoundError")
        return f"not installed: {last.partition(': ')[2]}" if missing else f"failed: {last}"
