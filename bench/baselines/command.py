"""`cbir-bench peers`: the same work by what one could take instead."""

from typing import Annotated

import typer

from cbir import terminal
from cbir.errors import UsageError

from ..core.options import Collection, Json, K, Label, Limit, Models, PeerPython, Seed, Stores, TopClasses


def peers(
    source: Annotated[
        str | None, typer.Argument(help="What to embed, as for cbir-ingest; without it, searching alone is measured.")
    ] = None,
    store: Stores = None,
    collection: Collection = None,
    k: K = 10,
    queries: Annotated[int, typer.Option(min=20, help="Stored pictures to ask for.")] = 300,
    seed: Seed = 42,
    recall: Annotated[float, typer.Option(min=0.1, max=1.0, help="Recall to compare at.")] = 0.99,
    model: Models = None,
    label: Label = None,
    top_classes: TopClasses = None,
    limit: Limit = None,
    peer: Annotated[
        list[str] | None, typer.Option(help="What to measure beside cbir; several times.", show_default="all")
    ] = None,
    peer_python: PeerPython = None,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of everything.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of a turn, at most.")] = 5.0,
    as_json: Json = None,
) -> None:
    """Measure cbir beside other libraries: from files to vectors, and searching at the same recall."""
    import tempfile
    from pathlib import Path

    from cbir.models.sealed import DEFAULT_MODEL
    from cbir.settings import load_settings
    from cbir.sources.base import SourceOptions

    from ..core.workload import open_subject
    from ..ingest import measure
    from ..ingest.workload import prepare
    from ..report.report import STDOUT, check_target, deliver
    from . import search
    from .measure import PEERS, check_peers
    from .search_loop import LIBRARIES
    from .view import peers_json, show_peers

    check_target(as_json)
    settings = load_settings()
    everything = [*PEERS, *LIBRARIES]
    wanted, python = check_peers(peer or everything, peer_python, everything)
    embedders, libraries = ([name for name in table if name in wanted] for table in (PEERS, LIBRARIES))
    options = SourceOptions(label=label, top_classes=top_classes, limit=limit)
    if source is None and (model or options != SourceOptions()):
        raise UsageError("--model, --label, --top-classes and --limit mean nothing without a SOURCE to embed")
    with open_subject(list(store or settings.store_urls), collection, k, queries, seed, settings) as subject:
        total = search.steps(subject, libraries, rounds)
        with terminal.progress("searching", total, "turns") as advance:
            found = search.measure(subject, libraries, python, recall, rounds, seconds, advance)
        measured = []
        if source is not None:
            asked = measure.Asked(options, rounds, seconds, embedders, python)
            with tempfile.TemporaryDirectory(prefix="cbir-bench-") as folder:
                prepared = prepare(Path(folder), source, options, None, model or [DEFAULT_MODEL])
                with terminal.progress("embedding", rounds * len(prepared.files), "turns") as advance:
                    measured = measure.measure(Path(folder), prepared, asked, advance)
        result = peers_json(subject, found, recall, rounds, seconds, measured, source)
    deliver(as_json, result, settings)
    if as_json != STDOUT:
        show_peers(result)
