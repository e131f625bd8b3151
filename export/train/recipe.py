"""Everything that decides the result of a training besides the images. It is written into the model's card."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from pydantic import TypeAdapter

Plain = str | int | float | bool | None

SCRATCH = "random"
"""What `weights` of a training from scratch is."""

_HEAD_RATE = 10
"""The head's learning rate is so many times that of given weights."""


@dataclass(frozen=True)
class Recipe:
    """The recipe of a training. The same recipe, images, device and number of threads give the same model.

    Attributes:
        backbone: Its name in the zoo.
        weights: The origin of the weights that the training began with, `random` from scratch.
        weights_sha256: SHA-256 of their file, "" from scratch.
        size: Side of the input in pixels.
        crop: How an image becomes square.
        loss: A name in `losses.LOSSES`.
        dimension: Length of the vectors.
        blocks: How many of the last blocks are trained, None for everything.
        augmentation: A name in `augment.AUGMENTATIONS`.
        epochs: The epochs of the whole schedule.
        patience: After so many epochs without a better validation P@5, the training stops.
        batch_size: Images per step.
        learning_rate: The highest of the backbone, and `head_learning_rate` of the head and the proxies.
        weight_decay: Of matrices and filters.
        warm_up: The share of all steps in which the learning rate rises from 0. Then it falls along a cosine to 0.
        ema_decay: Decay per step of the moving average of the weights, which is what is evaluated and written.
        bf16: Whether the network computes in bfloat16 where that is safe.
        seed: Of the split, the order, the augmentation and random weights.
    """

    backbone: str
    weights: str
    weights_sha256: str
    size: int
    crop: str
    loss: str
    dimension: int
    blocks: int | None
    augmentation: str
    epochs: int
    patience: int
    batch_size: int
    learning_rate: float
    head_learning_rate: float
    weight_decay: float
    warm_up: float
    ema_decay: float
    bf16: bool
    seed: int

    def as_dict(self) -> dict[str, Plain]:
        """Return the recipe as plain values."""
        return asdict(self)


RECIPE = TypeAdapter(Recipe)

SCRATCH_RATE, LAYER_NORM_RATE, GIVEN_RATE = 3e-3, 1e-3, 1e-4
"""The default learning rates of a backbone: from scratch, from scratch with layer norms, and from given weights.

From scratch on 2,100 images of 64 pixels in 12 epochs, 3e-3 gave ShuffleNet a validation P@5 of 0.814 and SqueezeNet
0.871; 1e-3 gave 0.751 and 0.867. Transformers and ConvNeXt are trained with less.
"""


def learning_rates(chosen: float | None, scratch: bool, layer_norms: bool) -> tuple[float, float]:
    """Return the learning rates of the backbone and of the head, which always starts from scratch."""
    if not scratch:
        rate = chosen or GIVEN_RATE
        return rate, _HEAD_RATE * rate
    rate = chosen or (LAYER_NORM_RATE if layer_norms else SCRATCH_RATE)
    return rate, rate


def differences(before: Mapping[str, Plain], now: Mapping[str, Plain]) -> str:
    """Return what differs between two recipes, as text; "" if they are the same."""
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return ", ".join(f"{name} {before.get(name)} (now {now.get(name)})" for name in names)
