"""`cbir-bench peers`: the same work by what one could take instead."""

from typing import Annotated

import typer

from cbir import terminal
from cbir.errors import UsageError

from .options import Collection, Json, K, Label, Limit, Models, PeerPython, Seed, Stores, TopClasses


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

    from cbir.model import DEFAULT_MODEL
    from cbir.settings import load_settings
    from cbir.sources import SourceOptions

    from . import ingest_speed, search_peers
    from .peer_search import LIBRARIES
    from .peers import PEERS, check_peers
    from .peers_report import peers_json, show_peers
    from .prepare import prepare
    from .report import STDOUT, check_target, deliver
    from .subject import open_subject

    check_target(as_json)
    settings = load_settings()
    everything = [*PEERS, *LIBRARIES]
    wanted, python = check_peers(peer or everything, peer_python, everything)
    embedders, libraries = ([name for name in table if name in wanted] for table in (PEERS, LIBRARIES))
    options = SourceOptions(label=label, top_classes=top_classes, limit=limit)
    if source is None and (model or options != SourceOptions()):
        raise UsageError("--model, --label, --top-classes and --limit mean nothing without a SOURCE to embed")
    with open_subject(list(store or settings.store_urls), collection, k, queries, seed, settings) as subject:
        total = search_peers.steps(subject, libraries, rounds)
        with terminal.progress("searching", total, "turns") as advance:
            found = search_peers.measure(subject, libraries, python, recall, rounds, seconds, advance)
        measured = []
        if source is not None:
            asked = ingest_speed.Asked(options, rounds, seconds, embedders, python)
            with tempfile.TemporaryDirectory(prefix="cbir-bench-") as folder:
                prepared = prepare(Path(folder), source, options, None, model or [DEFAULT_MODEL])
                with terminal.progress("embedding", rounds * len(prepared.files), "turns") as advance:
                    measured = ingest_speed.measure(Path(folder), prepared, asked, advance)
        result = peers_json(subject, found, recall, rounds, seconds, measured, source)
    deliver(as_json, result, settings)
    if as_json != STDOUT:
        show_peers(result)
