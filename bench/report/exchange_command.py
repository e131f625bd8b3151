"""`cbir-bench exchange`: vectors, exact neighbours and results as files that other benchmarks read."""

from pathlib import Path
from typing import Annotated

import typer

from cbir import terminal

from ..core.options import MOST_EFFORT, Collection, Json, Seed, Stores, numbers


def exchange(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the files go; made if it is not there.")],
    store: Stores = None,
    collection: Collection = None,
    k: Annotated[int, typer.Option("-k", "--k", min=2, help="Neighbours of each query, itself among them.")] = 100,
    queries: Annotated[int, typer.Option(min=1, help="Stored pictures to ask for.")] = 1000,
    seed: Seed = 42,
    format_: Annotated[
        list[str] | None,
        typer.Option("--format", help="hdf5 (ann-benchmarks) or parquet (VectorDBBench).", show_default="both"),
    ] = None,
    effort: Annotated[
        str, typer.Option(metavar="N,N", help="Widths of search: ef or nprobe.", show_default="eleven from 10 to 512")
    ] = "",
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each width.")] = 3,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
    as_json: Json = None,
) -> None:
    """Write vectors, exact neighbours and the stores' results as files of ann-benchmarks and VectorDBBench."""
    from cbir.settings import load_settings

    from ..core import exchange_files as files
    from ..core.nearest import exact_neighbours
    from ..core.workload import open_subject
    from . import exchange as measuring
    from .exchange_report import Found, exchange_json, show_exchange
    from .report import STDOUT, check_target, deliver

    check_target(as_json)
    formats = list(dict.fromkeys(format_ or files.FORMATS))
    files.check_formats(formats)
    efforts = numbers("--effort", effort, MOST_EFFORT) if effort else []
    settings = load_settings()
    others = k - 1  # the query itself is one of the k
    with open_subject(list(store or settings.store_urls), collection, others, queries, seed, settings) as subject:
        asked = measuring.cases(subject, efforts) if files.HDF5 in formats else []
        if not overwrite:
            files.check_new(folder, subject, asked, formats)
        with terminal.progress("exact neighbours", len(subject.queries), "queries") as advance:
            truth = exact_neighbours(subject, advance)
        total = len(subject.queries) * len(asked) * (1 + rounds)
        with terminal.progress("searching", total, "searches") as advance:
            runs, failed = measuring.measure(subject, asked, rounds, advance)
        with terminal.progress("writing", files.rows(subject, formats), "rows") as advance:
            written = files.write(folder, subject, truth, runs, formats, advance)
        found = Found(folder, formats, written, truth, runs, failed)
        deliver(as_json, exchange_json(subject, found), settings)
        if as_json != STDOUT:
            show_exchange(subject, found)
