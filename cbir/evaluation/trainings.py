"""The trainings of whole networks on this machine, as one result: a table of the models, and their curves."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from cbir.evaluation.result_files import Result, latest, machine
from cbir.evaluation.sections import CurvePoint, Curves, Part, Section
from cbir.models.card import ModelCard, Training
from cbir.tables import Cell, Column, Table

KIND = "train"
NOTES = (
    "70 % of the images are for training, 15 % choose the epoch (validation), and 15 % are the queries of the test,"
    " which are searched in the training images. The test images choose nothing. Validation searches only 4,096 of the"
    " training images, so it cannot be compared with the test.",
    "Models can be compared only if they were trained on the same images, with the same seed.",
    "The loss is the mean of an epoch's steps, on augmented images. Losses of different names, and of different numbers"
    " of classes, cannot be compared.",
)
_COLUMNS = (
    Column("model"),
    Column("images of"),
    Column("backbone"),
    Column("weights"),
    Column("input", "pixels", "d"),
    Column("loss"),
    Column("images", format=",d"),
    Column("epochs", format="d"),
    Column("best", format="d"),
    Column("validation P@5", format=".4f", better="higher"),
    Column("test P@5", format=".4f", better="higher"),
    Column("top-1", format=".4f", better="higher"),
    Column("MRR@5", format=".4f", better="higher"),
)


@dataclass(frozen=True, kw_only=True)
class TrainingResult(Result):
    """The cards of the models that were trained on this machine, the latest last."""

    models: list[ModelCard]


RESULT = TypeAdapter(TrainingResult)
_CARD = TypeAdapter(ModelCard)


def add_training(card: ModelCard, reports: Path) -> TrainingResult:
    """Return the kept trainings with a new one, which replaces that of the same name, recipe and images."""
    models = [model for model in kept_trainings(reports) if _identity(model) != _identity(card)]
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return TrainingResult(
        benchmark=KIND,
        created=now,
        versions=card.exporter,
        machine=machine(),
        notes=list(NOTES),
        models=[*models, card],
    )


def kept_trainings(reports: Path) -> list[ModelCard]:
    """Return the cards of the trainings that a folder of results has, without those that cannot be read."""
    found = []
    for report in latest(reports)[0]:
        if report.kind == KIND:
            for model in report.result.get("models", []):
                with suppress(ValidationError):
                    found.append(_CARD.validate_python(model))
    return found


def _identity(card: ModelCard) -> object:
    run = card.training.run if card.training else None
    return card.name, run and (run.recipe, run.data_sha256)


def as_section(models: Sequence[ModelCard], notes: Sequence[str] = NOTES) -> Section:
    """Return the section that shows trained models: the most accurate, a table, and the curves."""
    trained = [(card, card.training, card.training.run) for card in models if card.training and card.training.run]
    trained.sort(key=lambda found: -found[1].metrics["precision_at_5"])
    names = _different([card.name for card, _, _ in trained])
    rows: list[list[Cell]] = [
        [
            name,
            training.data,
            card.backbone,
            "from scratch" if run.recipe.get("weights") == "random" else "given",
            card.input.size,
            str(run.recipe.get("loss")),
            training.images,
            len(run.curves["loss"]),
            run.epoch,
            run.validation["precision_at_5"],
            *(training.metrics[name] for name in ("precision_at_5", "hit_rate_at_1", "mrr_at_5")),
        ]
        for name, (card, training, run) in zip(names, trained, strict=True)
    ]
    runs = dict(zip(names, (run for _, _, run in trained), strict=True))
    losses = {name: _points(run.curves["loss"]) for name, run in runs.items()}
    errors = {
        name: _points([1 - value for value in run.curves["validation_precision_at_5"]]) for name, run in runs.items()
    }
    data = sorted({training.data for _, training, _ in trained})
    best: dict[object, tuple[ModelCard, Training]] = {}
    for card, training, run in trained:
        best.setdefault((run.data_sha256, training.split), (card, training))
    verdicts = [
        f"{card.name} finds best of the models trained on {training.images:,} images of {training.data}:"
        f" test P@5 {training.metrics['precision_at_5']:.4f}."
        for card, training in best.values()
    ]
    parts: list[Part] = [
        Table("", _COLUMNS, rows),
        Curves("train-loss", "Mean loss of each epoch", "epoch", "loss", losses),
        Curves("train-error", "1 - P@5 of the validation after each epoch", "epoch", "1 - P@5", errors),
    ]
    subject = f"Models trained with cbir-export train on {' and '.join(data)}."
    return Section("How well do trained backbones find?", subject, verdicts, parts, list(notes))


def _different(names: Sequence[str]) -> list[str]:
    """Return names that differ: the second of the same name has "(2)" behind it, and so on."""
    counts = [names[: i + 1].count(name) for i, name in enumerate(names)]
    return [name if count == 1 else f"{name} ({count})" for name, count in zip(names, counts, strict=True)]


def _points(values: Sequence[float]) -> list[CurvePoint]:
    """Return the points of a curve by epoch. The axis is logarithmic, so 0 becomes a very small number."""
    return [CurvePoint(float(epoch), max(value, 1e-4), True) for epoch, value in enumerate(values, 1)]
