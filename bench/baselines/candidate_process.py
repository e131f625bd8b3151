"""The process of one candidate: it builds its index, then answers queries (see `search_worker`)."""

import json
import subprocess
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import numpy as np

from ..core.ranking import recall
from ..core.workload import Workload

_BUILD_SECONDS = 900.0
_TURN_SECONDS = 300.0
_FIND_SECONDS = 15.0


class CandidateProcess:
    """A candidate's process, and what was measured so far. Once it has failed, it gets no more queries.

    `missing` says why it failed. `built` is what it said when its index was ready, and its memory while it
    searches. By ef, where None is a scan, `recalls` has the recall of each query, and `rounds` their milliseconds.
    """

    def __init__(self, command: Sequence[str], job: Mapping[str, Any], efs: Sequence[int | None]):
        self.name, self.efs = job["name"], efs
        self.missing, self.built = "", dict[str, Any]()
        self.recalls: dict[int | None, list[float]] = {}
        self.rounds: dict[int | None, list[list[float]]] = defaultdict(list)
        Path(job["folder"]).mkdir()
        self._errors = Path(f"{job['folder']}.stderr")
        self._channel, theirs = Pipe()
        with self._errors.open("wb") as errors, theirs:
            number = theirs.fileno()
            words = [*command, json.dumps(job), str(number)]
            self._process = subprocess.Popen(words, stdout=errors, stderr=errors, pass_fds=[number])

    def build(self) -> None:
        """Wait until its index is ready."""
        self.built = self._answer(_BUILD_SECONDS)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._channel.close()

    def find(self, workload: Workload, ef: int | None) -> None:
        """Search for all queries, to get their recall; a scan in Python may not finish all of them."""
        truth, answer = workload.truth, self._search(ef, _FIND_SECONDS, hits=True)
        self.built["megabytes"] = answer.get("megabytes")
        for row, hits in enumerate(answer.get("hits", ())):
            query = int(truth.queries[row])
            others = [hit for hit in dict.fromkeys(hits) if hit != query][: workload.k]
            scores = truth.vectors[others].astype(np.float64) @ truth.vectors[query].astype(np.float64)
            found = recall(scores.tolist(), float(truth.threshold[row]), workload.k)
            self.recalls.setdefault(ef, []).append(found)

    def time(self, ef: int | None, seconds: float) -> None:
        """Time the queries once."""
        if found := self._search(ef, seconds):
            self.rounds[ef].append(found["ms"])

    def _search(self, ef: int | None, seconds: float, hits: bool = False) -> dict[str, Any]:
        if self.missing:
            return {}
        with suppress(OSError):  # the process has ended; its answer says why
            self._channel.send({"ef": ef, "seconds": seconds, "hits": hits})
        return self._answer(_TURN_SECONDS)

    def _answer(self, seconds: float) -> dict[str, Any]:
        """Return the next answer; nothing if the process ended or takes too long, and `missing` then says why."""
        try:
            if self._channel.poll(seconds):
                return dict(self._channel.recv())
            self.missing = f"took more than {seconds:.0f} s"
            self._process.kill()
        except (EOFError, OSError):
            self.missing = self._reason(self._process.wait())
        return {}

    def _reason(self, code: int) -> str:
        lines = [line for line in self._errors.read_text(errors="replace").splitlines() if line.strip()]
        last = lines[-1] if lines else f"exit code {code}"
        missing = last.startswith("ModuleNotFoundError")
        return f"not installed: {last.partition(': ')[2]}" if missing else f"failed: {last}"
