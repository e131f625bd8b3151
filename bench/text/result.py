"""The result of `cbir-bench text`, and how it is shown."""

from collections.abc import Sequence
from dataclasses import dataclass

from cbir.evaluation.result_files import Result, model_name
from cbir.evaluation.sections import Bar, Bars, Part, Section
from cbir.tables import Cell, Column, Table

from ..core.subject import Subject
from .measure import HITS, RANKS, Options, TextAccuracy


@dataclass(frozen=True, kw_only=True)
class TextResult(Result):
    """How well words work with each model."""

    settings: Options
    models: list[TextAccuracy]


def notes(options: Options, models: Sequence[TextAccuracy]) -> list[str]:
    """Return what a reader needs to know to read the metrics."""
    found = [
        "recall@k of texts: the share of captions whose own image is among the k best of all images. recall@k of"
        " images: the share of images one of whose captions is among the k best of all captions. Exact search, 95 %"
        " intervals.",
        "Other images may fit a caption as well, so a recall of 1 is not to be expected.",
    ]
    if any(model.unseen for model in models):
        found.append("Only images were used that the text tower did not learn from.")
    if any(model.classes for model in models):
        template = f"put into {options.template!r}" if options.template else "put into the template of the text tower"
        found.append(
            f"Zero-shot: the share of images whose class has the best score of all names of classes, {template}. Class"
            f" hits: the share of the {HITS} best hits of a name that are of the class, as the mean over the classes."
        )
    random = dict.fromkeys(model.name for model in models if model.random_weights)
    return found + [f"{name} has random weights. Its figures mean nothing." for name in random]


def present(result: TextResult) -> Section:
    """Return the section that shows a result."""
    names = [f"{model_name(model.name, model.precision)}, {model.tower}" for model in result.models]
    pairs = list(zip(names, result.models, strict=True))
    columns = [Column("model and text tower"), Column("images", format=",d"), Column("captions", format=",d")]
    columns += [Column(f"recall@{k} of texts", format=".4f", better="higher", detail=k == 5) for k in RANKS]
    columns += [Column(f"recall@{k} of images", format=".4f", better="higher", detail=k == 5) for k in RANKS]
    rows: list[list[Cell]] = [
        [name, model.images, model.captions, *map(model.text_to_image.get, RANKS), *map(model.image_to_text.get, RANKS)]
        for name, model in pairs
    ]
    last = RANKS[-1]
    shown = [(name, model.text_to_image[last]) for name, model in pairs]
    bars = [Bar(name, recall.value, recall.low, recall.high) for name, recall in shown]
    title = f"recall@{last} of texts"
    parts: list[Part] = [Table("", columns, rows), Bars("text", f"{title} with its 95 % interval", title, bars)]
    labelled = [(name, model) for name, model in pairs if model.classes]
    if labelled:
        class_columns = [Column("model and text tower"), Column("classes", format="d"), Column("images", format=",d")]
        class_columns += [Column(header, format=".4f", better="higher") for header in ("zero-shot", "class hits")]
        class_rows: list[list[Cell]] = [
            [name, model.classes, model.labelled, model.zero_shot, model.class_hits] for name, model in labelled
        ]
        parts.append(Table("Classes by their names", class_columns, class_rows))
    name, best = max(pairs, key=lambda pair: pair[1].text_to_image[last].value)
    value = best.text_to_image[last]
    verdict = f"{name}: {value.value:.1%} of {best.captions:,} captions find their image among the first {last}."
    return Section("Do words find images?", result.settings.source, [verdict], parts, result.notes)


SUBJECT = Subject("text", TextResult, present)
