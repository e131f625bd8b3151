"""What a training leaves: a model file with recipe and curves in its card, and the result for the page of the bench."""

import logging
from dataclasses import replace
from pathlib import Path

from cbir.errors import CbirError
from cbir.evaluation.result_files import keep
from cbir.evaluation.trainings import RESULT, add_training, as_section
from cbir.models.card import ModelCard, Precision, TrainingRun
from cbir.models.embedder import Embedder

from ..backbone import Loaded
from ..convert.build import BuildOptions, build_model
from .head import describe_training, metrics_of
from .images import TrainingImages
from .loop import Trained
from .network import save_weights
from .recipe import SCRATCH, Recipe

log = logging.getLogger(__name__)

_OWN_LICENSE = "that of its training images"
"""Of weights that were trained from scratch: nothing of the published ones is in them."""


def write_trained(
    loaded: Loaded,
    trained: Trained,
    images: TrainingImages,
    recipe: Recipe,
    source: tuple[str, str | None],
    path: Path,
    precision: Precision,
) -> ModelCard:
    """Write the weights and the model file of a trained backbone and its head, and return the card in it.

    `source` is the name of the data and the column of its classes.
    """
    position = trained.position
    run = TrainingRun(
        recipe=recipe.as_dict(),
        data_sha256=images.sha256,
        epoch=position.best_epoch,
        validation=metrics_of(position.best) if position.best else {},
        curves={
            "loss": position.losses,
            "learning_rate": position.learning_rates,
            "validation_precision_at_5": position.precisions,
        },
    )
    training = describe_training("train", *source, images.labels, trained.parts, trained.after, recipe.seed)
    saved = save_weights(loaded, path.with_suffix(".safetensors"))
    if recipe.weights == SCRATCH:
        saved = replace(saved, backbone=replace(saved.backbone, license=_OWN_LICENSE))
    build = BuildOptions(precision=precision)
    build_model(saved, path, path.stem, build, trained.head, replace(training, run=run))
    return Embedder(path, device="cpu").card


def keep_result(card: ModelCard, reports: Path) -> None:
    """Keep the training with the others of this machine, for the bench's page, its reports, and `list`."""
    result = add_training(card, reports)
    try:
        keep(RESULT.dump_python(result, mode="json"), reports, section=as_section(result.models), program="cbir-export")
    except CbirError as error:
        log.warning("%s", error)
