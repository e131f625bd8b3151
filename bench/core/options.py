"""Options that several commands of `cbir-bench` have."""

from typing import Annotated

import typer

from cbir.errors import UsageError

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
Seed = Annotated[int, typer.Option(min=0, help="Seed of the sample of queries.")]
Json = Annotated[
    str | None, typer.Option("--json", metavar="FILE", help="Write everything there as JSON; - is standard output.")
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
PeerPython = Annotated[
    str | None,
    typer.Option(metavar="PATH", help="Python with pip install 'cbir[peers]'.", show_default="this one"),
]

MOST_THREADS = 256
MOST_EFFORT = 1_000_000


def numbers(option: str, text: str, most: int) -> list[int]:
    """Return the whole numbers of an option, each once: "1,8" is [1, 8].

    Raises:
        UsageError: They are no such list, or not from 1 to `most`.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and 1 <= int(part) <= most for part in parts):
        raise UsageError(f"{option} {text}: whole numbers from 1 to {most:,} with commas in between, such as 1,8")
    return list(dict.fromkeys(map(int, parts)))
