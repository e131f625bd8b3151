"""Other libraries that turn image files into vectors, each in a process of its own, perhaps of another Python."""

import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
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


@dataclass(frozen=True)
class Library:
    """A library that can be measured: how it is used, and the settings to try, its own defaults first."""

    description: str
    candidates: Sequence[Settings]


@dataclass
class Baseline:
    """One library with one model; `missing` says why it cannot be measured.

    `settings` are by the name of the part: its defaults and, if others were faster in a short trial, those.
    """

    name: str
    description: str
    python: str
    job: dict[str, Any]
    missing: str = ""
    settings: dict[str, Settings] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def run(self, settings: Settings, seconds: float) -> MeasuredProcess:
        """Run it once; `printed` has images and seconds.

        Raises:
            CbirError: It is not installed, or failed.
        """
        job = {**self.job, "settings": dict(settings), "seconds": seconds}
        worker = str(Path(__file__).with_name("worker.py"))
        offline = {"HF_HUB_OFFLINE": "1"}  # all that it needs is here
        process = run_process(self.name, [self.python, worker, json.dumps(job)], offline)
        if "missing" in process.printed:
            raise CbirError(f"not installed: {process.printed['missing']}")
        return process


def start_baseline(name: str, python: str, model: Path, card: ModelCard, images: Path, folder: Path) -> Baseline:
    """Return a library with a model file and a folder of image files, each of its settings tried for a moment.

    `folder` is made for the library's own files.
    """
    folder.mkdir(parents=True)
    paths = {"model": str(model), "images": str(images), "folder": str(folder)}
    backbone = card.backbone.removeprefix("timm:")
    job = {"name": name, **paths, "backbone": backbone, "input": asdict(card.input), "mean": card.mean, "std": card.std}
    candidates = LIBRARIES[name].candidates
    baseline = Baseline(name, LIBRARIES[name].description, python, job)
    speeds = []
    try:
        if name == "fastembed" and card.input.crop == "pad":
            raise UsageError("fastembed cannot pad images to a square, as this model needs it")
        for settings in candidates:
            printed = baseline.run(settings, _TRIAL_SECONDS).printed
            baseline.versions = printed["versions"]
            speeds.append(printed["images"] / printed["seconds"])
            log.info("%s, tried with %s: %.1f images/s", name, json.dumps(settings), speeds[-1])
    except CbirError as error:
        baseline.missing = str(error)
        return baseline
    best = candidates[speeds.index(max(speeds))]
    baseline.settings = {name: candidates[0]}
    if best is not candidates[0]:
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


LIBRARIES: Mapping[str, Library] = MappingProxyType(
    {
        "fastembed": Library(
            "its image embedding as it comes, with the same ONNX function",
            [{"batch_size": batch, "parallel": parallel} for parallel in (None, cores()) for batch in (16, 4)],
        ),
        "torch": Library(
            "the same backbone, eager, behind a DataLoader with as many workers",
            [
                {"workers": cores(), "batch_size": 32, "threads": threads, "channels_last": channels_last}
                for channels_last in (False, True)
                for threads in (None, 1)
            ],
        ),
        "sentence-transformers": Library(
            "its CLIP ViT-B/32 with random weights, a larger model",
            [{"batch_size": 32}],
        ),
    }
)
