"""Model files with graphs of any kind, written field by field: the package `onnx` is not in the base install."""

from collections.abc import Iterable
from pathlib import Path

from cbir.bench.growth import onnx_writer
from cbir.bench.growth.onnx_writer import cast, field, node, tensor

__all__ = ["DIMENSION", "SIDE", "cast", "field", "node", "tensor", "write_model"]

SIDE = 8
DIMENSION = 3 * SIDE**2
_CARD = onnx_writer.made_up_card("made", DIMENSION, SIDE, seed=1)


def write_model(path: Path, nodes: Iterable[bytes], tensors: Iterable[bytes] = (), more: bytes = b"") -> Path:
    """Write and return a sealed file whose graph has the input `images`, the output `embeddings` and these nodes."""
    return onnx_writer.write_model(path, _CARD, nodes, tensors, more)
