"""Options that several commands of `cbir-bench` have."""

import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from cbir.errors import UsageError

STDOUT = "-"


def json_target(target: str | None) -> str | None:
    """Return the file for a result after a check that it can be written, before anything is measured."""
    if target is None or target == STDOUT:
        return target
    path = Path(target)
    try:
        fits = os.access(path.parent, os.W_OK) and path.parent.is_dir() and (path.is_file() or not path.exists())
    except OSError:  # too long a name, or no access to the folder
        fits = False
    if fits:
        return target
    raise UsageError(
        f"--json {target} is not a file: name a file in a folder that you may write to, or - for standard output"
    )


def splittable(option: typer.CallbackParam, text: str | None) -> str | None:
    """Return a source with options after a check that it splits into words, before anything is measured."""
    try:
        shlex.split(text or "")
    except ValueError as error:
        raise UsageError(
            f"Invalid {option.opts[0]} {text!r}: {error}. Close each quotation mark, or write \\ in front of it."
        ) from None
    return text


Stores = Annotated[
    list[str] | None,
    typer.Option(
        "--store", help="Store to measure; may be given several times.", show_default="$CBIR_STORES, or ./index"
    ),
]
Collection = Annotated[
    str | None, typer.Option(help="Name of the collection.", show_default="the newest that all the stores have")
]
K = Annotated[int, typer.Option("-k", "--k", min=1, help="Hits per query.")]
Ef = Annotated[
    str,
    typer.Option(
        "--ef",
        metavar="N,N",
        help="ef of a graph, or nprobe of inverted lists.",
        show_default="eleven from 10 to 512, or eight from 1 to 128",
    ),
]
Queries = Annotated[int, typer.Option(min=1, help="Number of queries, none of which is stored.")]
QuerySource = Annotated[
    str | None,
    typer.Option(
        metavar="SOURCE",
        help="Search for images of this source that are not stored.",
        show_default="vectors made of stored ones",
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the sample of queries.")]
Json = Annotated[
    str | None,
    typer.Option(
        "--json", metavar="FILE", help="Write everything there as JSON; - is standard output.", callback=json_target
    ),
]

Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model", help="Packaged model or ONNX file; may be given several times.", show_default="efficientnet_lite0"
    ),
]
Label = Annotated[str | None, typer.Option(help="Column with the class.")]
TopClasses = Annotated[int | None, typer.Option(min=1, help="Only the most frequent classes.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Only the first N images.")]
BaselinePython = Annotated[
    str | None, typer.Option(metavar="PATH", help="Python that has the extra `baselines`.", show_default="this one")
]

MOST_THREADS = 256
MOST_EF = 1_000_000


def numbers(option: str, text: str, most: int) -> list[int]:
    """Return the numbers in the text of an option, without duplicates: "1,8" is [1, 8]."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and 1 <= int(part) <= most for part in parts):
        raise UsageError(f"Invalid {option} {text!r}. Use whole numbers from 1 to {most:,} with commas, such as 1,8.")
    return list(dict.fromkeys(map(int, parts)))
