"""Writes small model files field by field: the package `onnx` is only needed to export real models."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cbir.images.decode import PREPROCESSING_VERSION
from cbir.images.preprocessing import InputRule
from cbir.models.card import CARD, ModelCard
from cbir.models.sealed import BLANK_CHECKSUM, CARD_FIELD, CHECKSUM_FIELD, seal

FLOAT, _UINT8, _INT64 = 1, 2, 7
_IR_VERSION, _OPSET = 10, 18


def field(number: int, value: int | bytes | str) -> bytes:
    """Return a field of a protobuf message."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def tensor(name: str, values: npt.NDArray[np.float32] | npt.NDArray[np.int64], more: bytes = b"") -> bytes:
    """Return a constant of a graph; `more` are whole fields."""
    dims = b"".join(field(1, size) for size in values.shape)
    kind = _INT64 if values.dtype == np.int64 else FLOAT
    return dims + field(2, kind) + field(8, name) + field(9, values.tobytes()) + more


def node(operator: str, inputs: str, outputs: str, more: bytes = b"") -> bytes:
    """Return a node of a graph, with the names of its inputs and outputs between spaces; `more` are whole fields."""
    links = [field(1, name) for name in inputs.split()] + [field(2, name) for name in outputs.split()]
    return b"".join(links) + field(4, operator) + more


def cast(inputs: str, outputs: str, kind: int = FLOAT) -> bytes:
    """Return a node that casts."""
    return node("Cast", inputs, outputs, field(5, field(1, "to") + field(3, kind) + field(20, 2)))


def made_up_card(name: str, dimension: int, side: int, seed: int) -> ModelCard:
    """Return the card of a model with random weights, which takes images of `side` pixels as they are."""
    return ModelCard(
        name=name,
        dimension=dimension,
        input=InputRule(side, side),
        mean=(0, 0, 0),
        std=(1, 1, 1),
        weights=f"random:{seed}",
        weights_sha256="",
        random_weights=True,
        license="",
        precision="fp32",
        preprocessing=PREPROCESSING_VERSION,
        exporter={},
    )


def write_model(
    path: Path, card: ModelCard, nodes: Iterable[bytes], tensors: Iterable[bytes] = (), more: bytes = b""
) -> Path:
    """Write and return a sealed model file whose graph has the input `images`, the output `embeddings` and these nodes.

    `more` are whole fields of the model.
    """
    side = card.input.size
    graph = [field(1, made) for made in nodes] + [field(2, card.name)] + [field(5, constant) for constant in tensors]
    graph += [field(11, _value("images", _UINT8, ["batch", side, side, 3]))]
    graph += [field(12, _value("embeddings", FLOAT, ["batch", card.dimension]))]
    model = field(1, _IR_VERSION) + field(7, b"".join(graph)) + field(8, field(1, "") + field(2, _OPSET)) + more
    for name, text in ((CARD_FIELD, CARD.dump_json(card, by_alias=True)), (CHECKSUM_FIELD, BLANK_CHECKSUM)):
        model += field(14, field(1, name) + field(2, text))
    path.write_bytes(seal(model))
    return path


def _value(name: str, kind: int, shape: Sequence[int | str]) -> bytes:
    dims = b"".join(field(1, field(1 if isinstance(size, int) else 2, size)) for size in shape)
    return field(1, name) + field(2, field(1, field(1, kind) + field(2, dims)))


def _varint(number: int) -> bytes:
    return bytes([number & 127 | 128]) + _varint(number >> 7) if number > 127 else bytes([number])
