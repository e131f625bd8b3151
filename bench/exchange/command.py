"""`cbir-bench exchange`: vectors, exact neighbours and results as files that other benchmarks read."""

from pathlib import Path
from typing import Annotated

import typer

from cbir import terminal
from cbir.errors import UsageError

from ..core.options import MOST_EFFORT, STDOUT, Collection, Effort, Json, Seed, Stores, numbers


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
    effort: Effort = "",
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each width.")] = 3,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
    as_json: Json = None,
) -> None:
    """Write vectors, exact neighbours and the stores' results as files of ann-benchmarks and VectorDBBench."""
    from cbir.settings import Settings

    from ..core.console import finish
    from ..core.ground_truth import exact_neighbours
    from ..core.workload import open_workload
    from . import files, measure
    from .view import exchange_json, exchange_section

    formats = list(dict.fromkeys(format_ or files.FORMATS))
    if unknown := set(formats) - set(files.FORMATS):
        raise UsageError(f"--format {min(unknown)}: there is no such format, but {' and '.join(files.FORMATS)}")
    if files.HDF5 in formats:
        import h5py  # noqa: F401 - before anything is measured
    efforts = numbers("--effort", effort, MOST_EFFORT) if effort else []
    others = k - 1  # the query itself is one of the k
    with open_workload(store, collection, others, queries, seed, Settings()) as workload:
        asked = measure.cases(workload, efforts) if files.HDF5 in formats else []
        if not overwrite:
            files.check_new(folder, workload, asked, formats)
        with terminal.progress("exact neighbours", len(workload.queries), "queries") as advance:
            truth = exact_neighbours(workload.truth, advance)
        total = len(workload.queries) * len(asked) * (1 + rounds)
        with terminal.progress("searching", total, "searches") as advance:
            runs, failed = measure.measure(workload, asked, rounds, advance)
        with terminal.progress("writing", files.rows(workload, formats), "rows") as advance:
            written = files.write(folder, workload, truth, runs, formats, advance)
        sizes = {str(path.relative_to(folder)): path.stat().st_size for path in written}
        result = exchange_json(workload, formats, sizes, truth, runs, failed)
    finish(as_json, result, exchange_section)
    if as_json != STDOUT:
        size = sum(sizes.values()) / 1e6
        typer.echo(f"{len(sizes)} files, {size:,.1f} MB; README.md says how to use them: {folder}")
