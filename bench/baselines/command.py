"""`cbir-bench baselines`: cbir compared with other libraries."""

from typing import Annotated

import typer

from cbir.errors import UsageError

from ..core.options import BaselinePython, Collection, Json, K, Label, Limit, Models, Seed, Stores, TopClasses


def baselines(
    source: Annotated[
        str | None, typer.Argument(help="What to embed, as for cbir-ingest. Without it, only searching is measured.")
    ] = None,
    store: Stores = None,
    collection: Collection = None,
    k: K = 10,
    queries: Annotated[
        int, typer.Option(min=20, help="Number of queries: points that are left out of every index.")
    ] = 1000,
    seed: Seed = 42,
    recall: Annotated[float, typer.Option(min=0.1, max=1.0, help="Recall to compare at.")] = 0.99,
    model: Models = None,
    label: Label = None,
    top_classes: TopClasses = None,
    limit: Limit = None,
    baseline: Annotated[
        list[str] | None, typer.Option(help="Library to measure. May be given several times.", show_default="all")
    ] = None,
    baseline_python: BaselinePython = None,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of everything.")] = 6,
    seconds: Annotated[
        float, typer.Option(min=0.1, help="Length of a turn: of searching at most, of embedding at least.")
    ] = 5.0,
    as_json: Json = None,
) -> None:
    """Compare cbir with other libraries: searching at the same recall, and image files to vectors.

    Example: cbir-bench baselines ./photos --baseline faiss --baseline hnswlib
    """
    from cbir.models.sealed import DEFAULT_MODEL
    from cbir.settings import Settings
    from cbir.sources.base import SourceOptions

    from ..core.subject import deliver, store_envelope
    from ..core.workload import open_stores, without_held_out
    from ..embedding.baseline import check_baselines
    from ..embedding.measure import EmbeddingOptions, ModelEmbedding
    from ..embedding.measure import measure as measure_embedding
    from ..embedding.worker import LIBRARIES as EMBEDDERS
    from .libraries import LIBRARIES
    from .result import SUBJECT, BaselinesResult, notes
    from .search import ADDED, measure

    available = [*EMBEDDERS, *LIBRARIES]
    names, python = check_baselines(baseline or available, baseline_python, available)
    options = SourceOptions(label=label, top_classes=top_classes, limit=limit)
    if source is None and (model or options != SourceOptions()):
        raise UsageError("--model, --label, --top-classes and --limit need a SOURCE to embed.")
    with open_stores(store, collection, Settings()) as stores:
        workload, added = without_held_out(stores, k, queries, ADDED * rounds, seed)
        libraries = [name for name in LIBRARIES if name in names]
        candidates = measure(workload, added, libraries, python, recall, rounds, seconds)
        embedding: list[ModelEmbedding] = []
        if source is not None:
            chosen = [name for name in EMBEDDERS if name in names]
            how = EmbeddingOptions(options, rounds, seconds, chosen, python)
            embedding = measure_embedding(source, None, model or [DEFAULT_MODEL], how)[1]
        header = store_envelope(SUBJECT.name, workload, notes(candidates, embedding, len(added) // rounds))
    versions = {found.name: found.version for found in candidates if found.version and not found.ours}
    for measured in embedding:
        versions |= measured.versions
    header["versions"] = versions | header["versions"]
    result = BaselinesResult(
        **header,
        source=source,
        rounds=rounds,
        seconds=seconds,
        recall=recall,
        candidates=candidates,
        embedding=embedding,
        added=len(added) // rounds,
    )
    deliver(SUBJECT, result, as_json)
