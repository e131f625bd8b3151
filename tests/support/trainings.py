"""Recipes and cards of short trainings."""

from dataclasses import replace

from cbir.export.train.recipe import Recipe

from cbir.images.preprocessing import InputRule
from cbir.models.card import ModelCard, Training, TrainingRun

RECIPE = Recipe(
    backbone="timm:test_resnet.r160_in1k",
    weights="random",
    weights_sha256="",
    size=32,
    crop="center",
    loss="softmax",
    dimension=16,
    blocks=None,
    augmentation="light",
    epochs=3,
    patience=10,
    batch_size=16,
    learning_rate=2e-3,
    head_learning_rate=2e-3,
    weight_decay=0.05,
    warm_up=0.05,
    ema_decay=0.9,
    bf16=False,
    seed=42,
)

_METRICS = {"precision_at_5": 0.9, "hit_rate_at_1": 0.95, "hit_rate_at_5": 0.99, "mrr_at_5": 0.96}


def trained_card(name: str = "resnet18-trained", precision: float = 0.9, backbone: str = "resnet18") -> ModelCard:
    """Return the card of a model that was trained for three epochs."""
    run = TrainingRun(
        recipe=replace(RECIPE, backbone=backbone).as_dict(),
        data_sha256="ab" * 32,
        epoch=2,
        validation=_METRICS,
        curves={
            "loss": [2.0, 1.0, 0.5],
            "learning_rate": [1e-3, 5e-4, 0.0],
            "validation_precision_at_5": [0.5, 1.0, 0.9],
        },
    )
    training = Training("train", "photos", "", ["a", "b"], 700, "70/15/15 by class, seed 42", _METRICS, run)
    training = replace(training, metrics={**_METRICS, "precision_at_5": precision})
    zeros = (0.0, 0.0, 0.0)
    return ModelCard(
        name=name,
        dimension=16,
        input=InputRule(32, 34),
        mean=zeros,
        std=zeros,
        weights="file:w.safetensors",
        weights_sha256="cd" * 32,
        random_weights=False,
        license="Apache-2.0",
        precision="fp16",
        preprocessing=1,
        exporter={"cbir": "1", "torch": "2"},
        backbone=backbone,
        training=training,
    )
