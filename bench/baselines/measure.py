"""Other ways from image files to vectors, each in a process of its own, perhaps of another Python."""

import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from cbir.errors import CbirError, UsageError
from cbir.models.sealed import ModelCard, cores

from ..core.measured_process import Child, run_child

log = logging.getLogger(__name__)

_TRIAL_SECONDS = 2.0
_RESAMPLE = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3}
Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Agreement:
    """Cosines between a peer's vectors and cbir's, of the same files."""

    pictures: int
    lowest: float
    median: float


@dataclass(frozen=True)
class Task:
    """What a peer is given.

    Attributes:
        model: The model file.
        card: What it says of itself.
        pictures: Folder of image files.
        vectors: .npy of cbir's vectors of the first of them.
        folder: An empty folder for the peer's own files.
    """

    model: Path
    card: ModelCard
    pictures: Path
    vectors: Path
    folder: Path


def _fastembed_settings() -> list[Settings]:
    return [{"batch_size": batch, "parallel": parallel} for parallel in (None, cores()) for batch in (16, 4)]


def _fastembed_job(task: Task) -> dict[str, Any]:
    """Return the job for fastembed; the folder gets the file that tells it how to make the input."""
    rule = task.card.input
    if rule.crop == "pad":
        raise UsageError("fastembed does not pad pictures to a square, as this model wants it")
    size = {"shortest_edge": rule.resize} if rule.crop == "center" else {"height": rule.resize, "width": rule.resize}
    config = {
        "do_resize": True,
        "size": size,
        "resample": _RESAMPLE[rule.interpolation],
        "do_center_crop": True,
        "crop_size": rule.size,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": task.card.mean,
        "image_std": task.card.std,
    }
    (task.folder / "preprocessor_config.json").write_text(json.dumps(config))
    vectors = str(task.folder / "vectors.npy")
    return {
        "model": str(task.model),
        "mean": task.card.mean,
        "std": task.card.std,
        "pictures": str(task.pictures),
        "folder": str(task.folder),
        "vectors": vectors,
    }


def _torch_settings() -> list[Settings]:
    return [
        {"workers": cores(), "batch_size": 32, "threads": threads, "channels_last": channels_last}
        for channels_last in (False, True)
        for threads in (None, 1)
    ]


def _torch_job(task: Task) -> dict[str, Any]:
    card, rule = task.card, task.card.input
    return {
        "pictures": str(task.pictures),
        "backbone": card.backbone.removeprefix("timm:"),
        "size": rule.size,
        "resize": rule.resize,
        "crop": rule.crop,
        "interpolation": rule.interpolation,
        "mean": card.mean,
        "std": card.std,
    }


def _sentence_transformers_settings() -> list[Settings]:
    return [{"batch_size": 32}]


def _sentence_transformers_job(task: Task) -> dict[str, Any]:
    return {"pictures": str(task.pictures), "folder": str(task.folder)}


PEERS = MappingProxyType(
    {
        "fastembed": (_fastembed_settings, _fastembed_job),
        "torch": (_torch_settings, _torch_job),
        "sentence-transformers": (_sentence_transformers_settings, _sentence_transformers_job),
    }
)
"""By name: the settings to try, its own defaults first, and what to tell it of a task."""


class Peer:
    """One peer with one task.

    Attributes:
        name: As in `PEERS`.
        settings: Its settings by the name of the part: those that it comes with and, if others were faster in a short
            trial, those.
        missing: Why it cannot be measured, "" if it can.
        agreement: How its vectors agree with cbir's; None if it has other weights.
        versions: Of what it runs on.
    """

    def __init__(self, name: str, python: str, task: Task):
        find_settings, make_job = PEERS[name]
        self.name, self.missing, self.agreement = name, "", None
        self.settings: dict[str, Settings] = {}
        self.versions: dict[str, str] = {}
        self._python = python
        task.folder.mkdir(parents=True)
        try:
            self._job = make_job(task)
            self._try(list(find_settings()))
            if self._job.get("vectors"):
                self.agreement = _agreement(np.load(task.vectors), np.load(self._job.pop("vectors")))
        except CbirError as error:
            self.missing = self.missing or str(error)

    def run(self, settings: Settings, seconds: float) -> Child:
        """Return one run; `printed` has images and seconds."""
        job = {"vectors": None, **self._job, "settings": dict(settings), "seconds": seconds}
        script = Path(__file__).with_name(f"peer_{self.name.replace('-', '_')}.py")
        offline = {"HF_HUB_OFFLINE": "1"}  # what they need is here
        child = run_child(self.name, [self._python, str(script), json.dumps(job)], offline)
        if "missing" in child.printed:
            self.missing = f"not installed: {child.printed['missing']}"
            raise CbirError(self.missing)
        return child

    def _try(self, candidates: list[Settings]) -> None:
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


def check_peers(names: Sequence[str], python: str | None, known: Sequence[str] = tuple(PEERS)) -> tuple[list[str], str]:
    """Return the peers and the Python to run them with, once each has been looked at.

    Raises:
        UsageError: There is no such peer, or no such Python.
    """
    for name in names:
        if name not in known:
            raise UsageError(f"--peer {name}: there is {', '.join(known)}")
    if python is not None and not (Path(python).is_file() and os.access(python, os.X_OK)):
        raise UsageError(f"--peer-python {python} is no program; name the bin/python of an environment")
    return list(dict.fromkeys(names)), python or sys.executable


def _agreement(ours: np.ndarray, theirs: np.ndarray) -> Agreement:
    count = min(len(ours), len(theirs))
    cosines = (ours[:count] * theirs[:count]).sum(axis=1)
    return Agreement(count, float(cosines.min()), float(np.median(cosines)))
