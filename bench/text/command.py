"""`cbir-bench text`: how well words find images, and name them."""

from pathlib import Path
from typing import Annotated

import typer

from ..core.options import Json, Label, Limit, Models, TopClasses


def text(
    source: Annotated[str, typer.Argument(help="Images with captions, as for cbir-ingest.")],
    model: Models = None,
    caption: Annotated[
        list[str] | None, typer.Option(help="Column with a caption; may be given several times.")
    ] = None,
    captions: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File of captions: COCO's JSON, or those of Flickr30k.")
    ] = None,
    label: Label = None,
    top_classes: TopClasses = None,
    limit: Limit = None,
    template: Annotated[
        str | None,
        typer.Option(help="What a class's name is put into.", show_default="that of the text tower"),
    ] = None,
    as_json: Json = None,
) -> None:
    """Measure how well texts find their images, images their texts, and names of classes their images."""
    from cbir.evaluation.captions import require_captions
    from cbir.models.sealed import DEFAULT_MODEL, find_model
    from cbir.settings import Settings

    from ..core.subject import deliver, envelope
    from .measure import Options, measure
    from .result import SUBJECT, TextResult, notes

    require_captions(caption or [], captions)
    files = [find_model(name) for name in dict.fromkeys(model or [DEFAULT_MODEL])]
    options = Options(source, caption or [], captions, label, top_classes, limit, template)
    found = measure(files, options, Settings())
    header = envelope(SUBJECT.name, notes(options, found))
    deliver(SUBJECT, TextResult(**header, settings=options, models=found), as_json)
