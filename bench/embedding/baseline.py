"""Other libraries that turn image files into vectors, each in a process of its own, perhaps of another Python."""

import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cbir.errors import CbirError, UsageError
from cbir.models.card import ModelCard
from cbir.models.runtime import cores

from ..core.measured_process import MeasuredProcess, run_process
from . import worker

log = logging.getLogger(__name__)

_TRIAL_SECONDS = 2.0


class Baseline:
    """One library with a model file and a folder of image files; `missing` says why it cannot be measured.

    Each of its settings is tried for a moment. `settings` are by the name of the part: its defaults and, if others were
    faster, those. `folder` is made for the library's own files.
    """

    def __init__(self, name: str, python: str, model: Path, card: ModelCard, images: Path, folder: Path):
        folder.mkdir(parents=True)
        self.name, self._python, self._library = part_name(name), python, worker.LIBRARIES[name]
        paths = {"model": str(model), "images": str(images), "folder": str(folder)}
        read = {"input": asdict(card.input), "mean": card.mean, "std": card.std}
        self._job = {"name": name, **paths, **read, "backbone": card.backbone.removeprefix("timm:")}
        self.settings: dict[str, Mapping[str, Any]] = {}
        self.versions: dict[str, str] = {}
        self.missing = ""
        try:
            if name == "fastembed" and card.input.crop == "pad":
                raise UsageError("fastembed cannot pad images to a square, as this model needs it")
            self._try_settings()
        except CbirError as error:
            self.missing = str(error)

    @property
    def has_same_model(self) -> bool:
        """True if it embeds with the function that is measured, or with its backbone."""
        return not self._library.model

    def _try_settings(self) -> None:
        candidates = self._library.settings(cores())
        speeds = []
        for settings in candidates:
            printed = self.run(settings, _TRIAL_SECONDS).printed
            self.versions = printed["versions"]
            speeds.append(printed["images"] / printed["seconds"])
            log.info("%s, tried with %s: %.1f images/s", self.name, json.dumps(settings), speeds[-1])
        best = candidates[speeds.index(max(speeds))]
        self.settings = {self.name: candidates[0]}
        if best is not candidates[0]:
            self.settings[f"{self.name}, tuned"] = best

    def run(self, settings: Mapping[str, Any], seconds: float) -> MeasuredProcess:
        """Run it once; `printed` has images and seconds. Raise `CbirError` if it is not installed, or failed."""
        job = {**self._job, "settings": settings, "seconds": seconds}
        offline = {"HF_HUB_OFFLINE": "1"}  # all that it needs is here
        process = run_process(self.name, [self._python, worker.__file__, json.dumps(job)], offline)
        if "missing" in process.printed:
            raise CbirError(f"not installed: {process.printed['missing']}")
        return process


def part_name(name: str) -> str:
    """Return the name of a library, with its model if that is another than the one that is measured."""
    model = worker.LIBRARIES[name].model
    return f"{name} ({model})" if model else name


def check_baselines(
    names: Sequence[str], python: str | None, available: Sequence[str] = tuple(worker.LIBRARIES)
) -> tuple[list[str], str]:
    """Return the names of baselines, each once, and the Python to run them with; both are checked."""
    for name in names:
        if name not in available:
            raise UsageError(f"Unknown baseline: --baseline {name}. Choose from: {', '.join(available)}")
    if python is not None and not (Path(python).is_file() and os.access(python, os.X_OK)):
        raise UsageError(f"--baseline-python {python} is not a program. Name the bin/python of an environment.")
    return list(dict.fromkeys(names)), python or sys.executable
