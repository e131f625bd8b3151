"""`cbir-bench exchange`: vectors, exact neighbours and results as files that other benchmarks read."""

from pathlib import Path
from typing import Annotated

import typer

from cbir import terminal
from cbir.errors import UsageError

from ..core.options import MOST_EF, Collection, Ef, Json, Queries, QuerySource, Seed, Stores, numbers


def exchange(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder for the files; made if it does not exist.")],
    store: Stores = None,
    collection: Collection = None,
    k: Annotated[int, typer.Option("-k", "--k", min=1, help="Neighbours of each query.")] = 100,
    queries: Queries = 1000,
    query_source: QuerySource = None,
    seed: Seed = 42,
    format_: Annotated[
        list[str] | None,
        typer.Option("--format", help="hdf5 (ann-benchmarks) or parquet (VectorDBBench).", show_default="both"),
    ] = None,
    ef: Ef = "",
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each ef.")] = 3,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
    as_json: Json = None,
) -> None:
    """Write vectors, exact neighbours and the stores' results as files of ann-benchmarks and VectorDBBench."""
    from cbir.settings import Settings

    from ..core.subject import deliver, store_envelope
    from ..core.workload import open_workload
    from .files import FORMATS, HDF5, check_new, planned, write
    from .measure import cases, exact_neighbours, measure
    from .result import SUBJECT, ExchangeResult

    formats = list(dict.fromkeys(format_ or FORMATS))
    if unknown := set(formats) - set(FORMATS):
        raise UsageError(f"Unknown --format {min(unknown)}. Use {' or '.join(FORMATS)}.")
    if HDF5 in formats:
        import h5py  # noqa: F401 - a missing library is reported before anything is measured
    values = numbers("--ef", ef, MOST_EF) if ef else []
    with open_workload(store, collection, k, queries, seed, Settings(), query_source) as workload:
        searches = cases(workload, values) if HDF5 in formats else []
        if not overwrite:
            check_new(planned(folder, workload, searches, formats))
        truth = exact_neighbours(workload.truth)
        total = len(workload.vectors) * len(searches) * (1 + rounds)
        with terminal.progress("searching", total, "searches") as advance:
            measure(workload, searches, rounds, advance)
        files = planned(folder, workload, [case for case in searches if not case.failed], formats)
        with terminal.progress("writing", len(files), "files") as advance:
            for path, writer in files.items():
                write(path, writer, truth)
                advance(1)
        header = store_envelope(SUBJECT.name, workload, [])
    sizes = {str(path.relative_to(folder)): path.stat().st_size for path in files}
    failed = {case.name: case.failed for case in searches if case.failed}
    deliver(SUBJECT, ExchangeResult(**header, folder=str(folder), files=sizes, failed=failed), as_json)
