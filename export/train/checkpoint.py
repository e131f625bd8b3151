"""The working folder of a training next to its output: recipe, decoded images, and the checkpoint to continue from."""

import fcntl
import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter

from cbir.errors import CbirError, UsageError
from cbir.evaluation.retrieval import Accuracy
from cbir.index.disk import report_full_disk
from cbir.index.files import write_atomically
from cbir.text import one_line

from .recipe import RECIPE, Recipe, differences

_RECIPE, _CHECKPOINT, _LOCK = "recipe.json", "checkpoint.pt", "lock"


@dataclass
class Position:
    """How far a training is.

    Attributes:
        step: Number of steps done.
        batch_losses: The loss of each step of the current epoch.
        losses: The mean loss of each finished epoch; `learning_rates` and `precisions` (validation P@5) likewise.
        best: The accuracy of the best epoch on the validation part, and `best_epoch` its number, from 1.
        before: The accuracy on the test part before the training.
    """

    step: int = 0
    batch_losses: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    learning_rates: list[float] = field(default_factory=list)
    precisions: list[float] = field(default_factory=list)
    best: Accuracy | None = None
    best_epoch: int = 0
    before: Accuracy | None = None


_POSITION = TypeAdapter(Position)

Tensors = dict[str, dict[str, Any]]
"""State dicts by name: `network`, `average`, `best` and `optimizer`."""


def folder_for(output: Path) -> Path:
    """Return the working folder of the training that writes `output`."""
    return output.with_suffix(".training")


@contextmanager
def working_folder(output: Path, recipe: Recipe, restart: bool) -> Iterator[Path]:
    """Yield the working folder, locked, with the recipe in it. It is removed if the training succeeds.

    What an earlier run with another recipe left there is removed if it had not begun to train.

    Raises:
        UsageError: An unfinished training in it has another recipe, or the folder is not that of a training.
        CbirError: Another process trains there.
        DiskFullError: The disk is full.
    """
    folder = folder_for(output)
    if folder.exists() and not (folder / _LOCK).exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UsageError(f"{folder} is not a folder of a training. Move it, or choose another --output")
    folder.mkdir(exist_ok=True)
    with (folder / _LOCK).open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CbirError(f"Another process trains {output}. Wait for it, or choose another --output") from None
        path = folder / _RECIPE
        changed = path.exists() and not restart and differences(_read_recipe(path), recipe.as_dict())
        if changed and (folder / _CHECKPOINT).exists():
            raise UsageError(
                f"{folder} holds an unfinished training with another recipe: {changed}. Continue it with the same"
                " options, or start anew with --restart"
            )
        if restart or changed:
            for old in folder.iterdir():
                if old.name != _LOCK:
                    old.unlink()
        if not path.exists():
            write_atomically(path, RECIPE.dump_json(recipe, indent=1))
        with report_full_disk(str(folder)):
            yield folder
        shutil.rmtree(folder)


def save_checkpoint(folder: Path, tensors: Tensors, position: Position) -> None:
    """Write the state of a training, whole or not at all."""
    data = io.BytesIO()
    torch.save({**tensors, "position": asdict(position)}, data)
    write_atomically(folder / _CHECKPOINT, data.getvalue())


def load_checkpoint(folder: Path, device: torch.device) -> tuple[Tensors, Position] | None:
    """Return the saved state of a training, None if there is none. Nothing in the file is run as code.

    Raises:
        CbirError: The file is damaged.
    """
    path = folder / _CHECKPOINT
    if not path.exists():
        return None
    try:
        content = torch.load(path, map_location=device, weights_only=True)
        return content, _POSITION.validate_python(content.pop("position"))
    except Exception as error:  # pickle, zip and pydantic share no base class
        raise CbirError(f"{path} is damaged ({one_line(error)[:100]}). Start anew with --restart") from None


def _read_recipe(path: Path) -> dict[str, Any]:
    try:
        return RECIPE.validate_json(path.read_bytes()).as_dict()
    except ValueError:
        raise UsageError(f"{path} is no recipe of this version. Start anew with --restart") from None
