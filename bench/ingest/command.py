"""`cbir-bench ingest`: how fast image files become points."""

from typing import Annotated

import typer

from cbir.errors import UsageError

from ..core.options import BaselinePython, Json, Label, Limit, Models, TopClasses


def ingest(
    source: Annotated[str | None, typer.Argument(help="What to ingest, as for cbir-ingest.")] = None,
    photos: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="N generated photos of 12 megapixels instead of SOURCE.")
    ] = None,
    model: Models = None,
    label: Label = None,
    top_classes: TopClasses = None,
    limit: Limit = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option(help="Also measure fastembed, torch or sentence-transformers. May be given several times."),
    ] = None,
    baseline_python: BaselinePython = None,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each part.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of a turn of what is not an ingest.")] = 10.0,
    as_json: Json = None,
) -> None:
    """Compare an ingest with its model alone, and with other libraries.

    Example: cbir-bench ingest ./photos --limit 500
    """
    from cbir.models.sealed import DEFAULT_MODEL
    from cbir.sources.base import SourceOptions

    from ..core.subject import deliver, envelope
    from ..embedding.baseline import check_baselines
    from ..embedding.measure import EmbeddingOptions, embedding_notes, measure
    from .result import SUBJECT, IngestResult

    options = SourceOptions(label=label, top_classes=top_classes, limit=limit)
    if (source is None) == (photos is None):
        raise UsageError("Name what to ingest: either a SOURCE, or --photos N for generated images.")
    if photos is not None and options != SourceOptions():
        raise UsageError("--photos generates its images. Remove --label, --top-classes and --limit.")
    names, python = check_baselines(baseline or [], baseline_python)
    how = EmbeddingOptions(options, rounds, seconds, names, python)
    sample, measured = measure(source, photos, model or [DEFAULT_MODEL], how)
    result = IngestResult(
        **envelope(SUBJECT.name, embedding_notes(measured)),
        source=sample.source,
        options=options,
        sample=sample.count,
        rounds=rounds,
        seconds=seconds,
        models=measured,
    )
    deliver(SUBJECT, result, as_json)
