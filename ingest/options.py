"""Options that several commands share."""

from typing import Annotated

import typer

Stores = Annotated[
    list[str] | None,
    typer.Option("--store", help="Where to store; may be given several times. (default: $CBIR_STORES, or ./index)"),
]
Collection = Annotated[str | None, typer.Option(help="Name of the collection. (default: DATASET-MODEL)")]
