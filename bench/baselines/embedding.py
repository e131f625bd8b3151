"""Other ways from image files to vectors, each in a process of its own, perhaps of another Python."""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cbir.errors import UsageError
from cbir.models.runtime import cores

from ..core.baseline import Baseline, Settings, Task

_RESAMPLE = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3}


def _fastembed_job(task: Task) -> dict[str, Any]:
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
    return {
        "model": str(task.model),
        "mean": task.card.mean,
        "std": task.card.std,
        "pictures": str(task.pictures),
        "folder": str(task.folder),
        "vectors": str(task.folder / "vectors.npy"),
    }


def _torch_job(task: Task) -> dict[str, Any]:
    card, rule = task.card, task.card.input
    made = {name: getattr(rule, name) for name in ("size", "resize", "crop", "interpolation")}
    backbone = card.backbone.removeprefix("timm:")
    return {"pictures": str(task.pictures), "backbone": backbone, **made, "mean": card.mean, "std": card.std}


BASELINES: Mapping[str, tuple[str, list[Settings], Callable[[Task], dict[str, Any]]]] = MappingProxyType(
    {
        "fastembed": (
            "its image embedding as it comes, over files, with the same ONNX function",
            [{"batch_size": batch, "parallel": parallel} for parallel in (None, cores()) for batch in (16, 4)],
            _fastembed_job,
        ),
        "torch": (
            "the same backbone, eager, behind a DataLoader of as many workers, over files",
            [
                {"workers": cores(), "batch_size": 32, "threads": threads, "channels_last": channels_last}
                for channels_last in (False, True)
                for threads in (None, 1)
            ],
            _torch_job,
        ),
        "sentence-transformers": (
            "its CLIP ViT-B/32 with random weights, a larger model, as it comes, over files",
            [{"batch_size": 32}],
            lambda task: {"pictures": str(task.pictures), "folder": str(task.folder)},
        ),
    }
)
"""By name: how it is used, the settings to try, its own defaults first, and what to tell it of a task."""


def start_baselines(names: Sequence[str], python: str, task: Task) -> list[Baseline]:
    """Return baselines, each tried with its settings for a moment."""
    scripts = [Path(__file__).with_name(f"{name.replace('-', '_')}_worker.py") for name in names]
    return [
        Baseline(name, *BASELINES[name], [python, str(script)], task)
        for name, script in zip(names, scripts, strict=True)
    ]


def check_baselines(
    names: Sequence[str], python: str | None, known: Sequence[str] = tuple(BASELINES)
) -> tuple[list[str], str]:
    """Return the names of baselines and the Python to run them with, once each has been looked at."""
    for name in names:
        if name not in known:
            raise UsageError(f"--peer {name}: there is {', '.join(known)}")
    if python is not None and not (Path(python).is_file() and os.access(python, os.X_OK)):
        raise UsageError(f"--peer-python {python} is no program; name the bin/python of an environment")
    return list(dict.fromkeys(names)), python or sys.executable
