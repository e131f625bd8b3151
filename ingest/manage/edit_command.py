"""`cbir-ingest delete`, `update` and `classify`."""

import re
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from cbir import terminal
from cbir.errors import UsageError

from ..options import Collection, Stores, named_collection

_WORDS = {"null": None, "true": True, "false": False}
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)

Ids = Annotated[
    list[str] | None,
    typer.Option("--id", help="Id or key of an image; may be given several times.", show_default=False),
]
Filter = Annotated[
    str, typer.Option("--filter", metavar="CONDITIONS", help="Images whose payload matches 'label=A|B and year>2015'.")
]


def delete(
    ids: Ids = None,
    filter: Filter = "",
    store: Stores = None,
    collection: Collection = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete what --filter matches without asking.")] = False,
) -> None:
    """Delete images from a collection. If their source still has them, the next ingest stores them again."""
    with named_collection(store, collection) as opened:
        found = f"{opened.count(filter):,} of {opened.count():,} images match {filter!r}" if filter and not yes else ""
        if found and not (sys.stdin.isatty() and typer.confirm(f"{found}. Delete them?")):
            raise UsageError(f"{found}. Nothing was deleted; add --yes to delete them without asking.")
        count = opened.delete(ids=ids or [], filter=filter, progress=terminal.progress)
    typer.echo(f"{count:,} points removed")


def update(
    changes: Annotated[
        list[str], typer.Argument(metavar="NAME=VALUE...", help="Payload fields to set; null removes one.")
    ],
    ids: Ids = None,
    filter: Filter = "",
    store: Stores = None,
    collection: Collection = None,
) -> None:
    """Set payload fields of images. The next ingest keeps them, unless the image or its row has changed."""
    with named_collection(store, collection) as opened:
        count = opened.update(parse_changes(changes), ids=ids or [], filter=filter, progress=terminal.progress)
    typer.echo(f"{count:,} points changed")


def classify(
    labels: Annotated[list[str], typer.Argument(metavar="LABEL...", help="At least two labels, in words.")],
    field: Annotated[
        str, typer.Option(help="Payload field for the label. Its score goes to FIELD_score.")
    ] = "zero_shot",
    template: Annotated[
        str | None,
        typer.Option(help="What a label is put into, such as 'a photo of a {}'.", show_default="that of the model"),
    ] = None,
    filter: Filter = "",
    min_score: Annotated[float, typer.Option(min=0, max=1, help="Store no label whose score is lower.")] = 0.0,
    store: Stores = None,
    collection: Collection = None,
) -> None:
    """Store for each image the label that fits it best, in words. The model needs a text tower.

    The score is the label's share of 1 among all labels. Filters and groups can then use the field.
    """
    with named_collection(store, collection) as opened:
        found = opened.classify(labels, template=template, filter=filter)
        by_change: dict[tuple[str | None, float | None], list[str]] = {}
        for image in found:
            is_clear = image.score >= min_score
            change = (image.label, round(image.score, 2)) if is_clear else (None, None)  # removes an earlier label
            by_change.setdefault(change, []).append(image.id)
        with opened.batch(), terminal.progress("storing labels", len(by_change), "changes") as advance:
            for (label, score), ids in by_change.items():
                opened.update({field: label, f"{field}_score": score}, ids=ids)
                advance(1)
    counts = Counter(label for (label, _), ids in by_change.items() if label is not None for _ in ids)
    for label, count in counts.most_common():
        typer.echo(f"{count:>9,}  {label}")
    stored = sum(counts.values())
    typer.echo(f"{stored:,} of {len(found):,} images labelled in the field {field}")


def parse_changes(texts: Sequence[str]) -> dict[str, Any]:
    """Return the fields that texts such as `label=Boots`, `year=2016` and `season=null` set. A label stays a text.

    So does what is no number as JSON writes it, such as 007.

    Raises:
        UsageError: One of them is not NAME=VALUE.
    """
    from cbir.filters.parser import as_number
    from cbir.records import LABEL

    changes: dict[str, Any] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not name or not sign:
            raise UsageError(f"Invalid change: {text!r}. Use NAME=VALUE, such as label=Boots.")
        number = as_number(value) if _NUMBER.fullmatch(value) else None
        plain = _WORDS.get(value, value if number is None else number)
        changes[name] = value if name == LABEL and plain is not None else plain
    return changes
