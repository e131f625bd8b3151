"""Options that several commands of `cbir-bench` have."""

from typing import Annotated

import typer

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
