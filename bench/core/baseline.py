"""Another library's way from image files to vectors: what it is given, and its runs in processes of their own."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cbir.errors import CbirError
from cbir.models.card import ModelCard

from .measured_process import Child, run_child

Settings = Mapping[str, Any]

log = logging.getLogger(__name__)

_TRIAL_SECONDS = 2.0


@dataclass(frozen=True)
class Agreement:
    """Cosines between a baseline's vectors and cbir's, of the same files."""

    pictures: int
    lowest: float
    median: float


@dataclass(frozen=True)
class Task:
    """What a baseline is given: the model file with its card, a folder of image files, and two more paths.

    `vectors` is the .npy of cbir's vectors of the first images; in `folder` a baseline makes one for its own files.
    """

    model: Path
    card: ModelCard
    pictures: Path
    vectors: Path
    folder: Path


class Baseline:
    """One library with one task.

    Attributes:
        what: How it is used.
        missing: Why it cannot be measured, "" if it can.
        settings: By the name of the part: its own and, if others were faster in a short trial, those.
        agreement: How its vectors agree with cbir's; None if it has other weights.
    """

    def __init__(
        self,
        name: str,
        what: str,
        candidates: Sequence[Settings],
        make_job: Callable[[Task], dict[str, Any]],
        command: Sequence[str],
        task: Task,
    ):
        self.name, self.what, self.missing = name, what, ""
        self.agreement: Agreement | None = None
        self.settings: dict[str, Settings] = {}
        self.versions: dict[str, str] = {}
        self._command = command
        task = replace(task, folder=task.folder / name)
        task.folder.mkdir(parents=True)
        try:
            self._job = make_job(task)
            self._try(candidates)
            if theirs := self._job.pop("vectors", None):
                ours, others = np.load(task.vectors), np.load(theirs)
                count = min(len(ours), len(others))
                cosines = (ours[:count] * others[:count]).sum(axis=1)
                self.agreement = Agreement(count, float(cosines.min()), float(np.median(cosines)))
        except CbirError as error:
            self.missing = self.missing or str(error)

    def run(self, settings: Settings, seconds: float) -> Child:
        """Return one run; `printed` has images and seconds."""
        job = {"vectors": None, **self._job, "settings": dict(settings), "seconds": seconds}
        offline = {"HF_HUB_OFFLINE": "1"}  # what they need is here
        child = run_child(self.name, [*self._command, json.dumps(job)], offline)
        if "missing" in child.printed:
            self.missing = f"not installed: {child.printed['missing']}"
            raise CbirError(self.missing)
        return child

    def _try(self, candidates: Sequence[Settings]) -> None:
        speeds = []
        for settings in candidates:
            found = self.run(settings, _TRIAL_SECONDS).printed
            self.versions = found["versions"]
            speeds.append(found["images"] / found["seconds"])
            log.info("%s, tried with %s: %.1f images/s", self.name, json.dumps(settings), speeds[-1])
        best = candidates[speeds.index(max(speeds))]
        self.settings = {self.name: candidates[0]}
        if best is not candidates[0]:
            self.settings[f"{self.name}, tuned"] = best
