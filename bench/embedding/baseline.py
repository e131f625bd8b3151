"""Other libraries that turn image files into vectors, each in a process of its own, perhaps of another Python."""

import json
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cbir.errors import CbirError, UsageError
from cbir.models.card import ModelCard
from cbir.models.runtime import cores

from ..core.measured_process import MeasuredProcess, run_process

Settings = Mapping[str, Any]

log = logging.getLogger(__name__)

_TRIAL_SECONDS = 2.0
_RESAMPLE = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3}


@dataclass(frozen=True)
class Task:
    """What a baseline is given: a model file with its card, a folder of image files, and an empty folder of its own."""

    model: Path
    card: ModelCard
    images: Path
    folder: Path


@dataclass(frozen=True)
class Library:
    """A library that can be measured.

    Attributes:
        description: How it is used.
        candidates: The settings to try, its own defaults first.
        job: Returns what its worker is given for a task.
    """

    description: str
    candidates: Sequence[Settings]
    job: Callable[[Task], dict[str, Any]]


@dataclass
class Baseline:
    """One library with one task.

    Attributes:
        missing: Why it cannot be measured, "" if it can.
        settings: By the name of the part: its defaults and, if others were faster in a short trial, those.
        versions: Of its packages.
    """

    name: str
    description: str
    command: Sequence[str]
    job: dict[str, Any] = field(default_factory=dict)
    missing: str = ""
    settings: dict[str, Settings] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def run(self, settings: Settings, seconds: float) -> MeasuredProcess:
        """Run it once; `printed` has images and seconds.

        Raises:
            CbirError: It is not installed, or failed.
        """
        job = {**self.job, "settings": dict(settings), "seconds": seconds}
        offline = {"HF_HUB_OFFLINE": "1"}  # all that it needs is here
        process = run_process(self.name, [*self.command, json.dumps(job)], offline)
        if "missing" in process.printed:
            raise CbirError(f"not installed: {process.printed['missing']}")
        return process


def start_baselines(names: Sequence[str], python: str, task: Task) -> list[Baseline]:
    """Return the baselines of a task, each tried with its settings for a moment."""
    return [_start(name, python, task) for name in names]


def _start(name: str, python: str, task: Task) -> Baseline:
    library = LIBRARIES[name]
    worker = Path(__file__).with_name(f"{name.replace('-', '_')}_worker.py")
    baseline = Baseline(name, library.description, [python, str(worker)])
    own = Task(task.model, task.card, task.images, task.folder / name)
    own.folder.mkdir(parents=True)
    try:
        baseline.job = library.job(own)
        speeds = []
        for settings in library.candidates:
            printed = baseline.run(settings, _TRIAL_SECONDS).printed
            baseline.versions = printed["versions"]
            speeds.append(printed["images"] / printed["seconds"])
            log.info("%s, tried with %s: %.1f images/s", name, json.dumps(settings), speeds[-1])
    except CbirError as error:
        baseline.missing = str(error)
        return baseline
    best = library.candidates[speeds.index(max(speeds))]
    baseline.settings = {name: library.candidates[0]}
    if best is not library.candidates[0]:
        baseline.settings[f"{name}, tuned"] = best
    return baseline


def check_baselines(
    names: Sequence[str], python: str | None, available: Sequence[str] | None = None
) -> tuple[list[str], str]:
    """Return the names of baselines, each once, and the Python to run them with.

    Raises:
        UsageError: There is no such baseline or Python.
    """
    available = list(LIBRARIES) if available is None else available
    for name in names:
        if name not in available:
            raise UsageError(f"Unknown baseline: --baseline {name}. Choose from: {', '.join(available)}")
    if python is not None and not (Path(python).is_file() and os.access(python, os.X_OK)):
        raise UsageError(f"--baseline-python {python} is not a program. Name the bin/python of an environment.")
    return list(dict.fromkeys(names)), python or sys.executable


def _fastembed_job(task: Task) -> dict[str, Any]:
    rule = task.card.input
    if rule.crop == "pad":
        raise UsageError("fastembed cannot pad images to a square, as this model needs it")
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
    paths = {"model": str(task.model), "images": str(task.images), "folder": str(task.folder)}
    return {**paths, "mean": task.card.mean, "std": task.card.std}


def _torch_job(task: Task) -> dict[str, Any]:
    card, rule = task.card, task.card.input
    preprocessing = {name: getattr(rule, name) for name in ("size", "resize", "crop", "interpolation")}
    backbone = card.backbone.removeprefix("timm:")
    return {"images": str(task.images), "backbone": backbone, **preprocessing, "mean": card.mean, "std": card.std}


LIBRARIES: Mapping[str, Library] = MappingProxyType(
    {
        "fastembed": Library(
            "its image embedding as it comes, with the same ONNX function",
            [{"batch_size": batch, "parallel": parallel} for parallel in (None, cores()) for batch in (16, 4)],
            _fastembed_job,
        ),
        "torch": Library(
            "the same backbone, eager, behind a DataLoader with as many workers",
            [
                {"workers": cores(), "batch_size": 32, "threads": threads, "channels_last": channels_last}
                for channels_last in (False, True)
                for threads in (None, 1)
            ],
            _torch_job,
        ),
        "sentence-transformers": Library(
            "its CLIP ViT-B/32 with random weights, a larger model",
            [{"batch_size": 32}],
            lambda task: {"images": str(task.images), "folder": str(task.folder)},
        ),
    }
)
