"""A trained head in an ONNX graph: linear layers after a model's vectors, and another L2 norm."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from cbir.errors import UsageError
from cbir.records import Vector

Matrix = npt.NDArray[np.float32]

_FEATURES = "features"
_PREFIX = "cbir_head"
_KEEP = f"{_PREFIX}.keep"
_ROOT_HALF = np.float32(0.5**0.5)


@dataclass(frozen=True)
class Head:
    """Linear layers of (weight (in, out), bias (out,)) with ReLU between them. The result is scaled to unit length.

    With `keep`, the vectors that it takes follow, and a score is the mean of the head's and of theirs.
    """

    layers: list[tuple[Matrix, Matrix]]
    keep: bool = False

    @property
    def dimension(self) -> int:
        """Length of the vectors."""
        return int(self.layers[-1][0].shape[1]) + self.keep * int(self.layers[0][0].shape[0])


def add_head(model: onnx.ModelProto, head: Head) -> None:
    """Append a head to a model, in place."""
    graph = model.graph
    if read_head(model) is not None:
        raise UsageError("The model already has a trained head. Use the model without it")
    for node in graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                if name == "embeddings":
                    names[i] = _FEATURES
    current = _FEATURES
    for number, (weight, bias) in enumerate(head.layers):
        names = [f"{_PREFIX}.{number}.{part}" for part in ("weight", "bias")]
        graph.initializer.extend(
            numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name)
            for values, name in zip((weight, bias), names, strict=True)
        )
        after = f"{_PREFIX}.{number}"
        graph.node.append(helper.make_node("Gemm", [current, *names], [after], name=after))
        current = after
        if number < len(head.layers) - 1:
            current = f"{after}.relu"
            graph.node.append(helper.make_node("Relu", [after], [current], name=current))
    unit = f"{_PREFIX}.unit" if head.keep else "embeddings"
    graph.node.append(helper.make_node("LpNormalization", [current], [unit], axis=1, p=2))
    if head.keep:
        graph.initializer.append(numpy_helper.from_array(_ROOT_HALF, _KEEP))
        graph.node.append(helper.make_node("Concat", [unit, _FEATURES], [f"{_PREFIX}.both"], axis=1))
        graph.node.append(helper.make_node("Mul", [f"{_PREFIX}.both", _KEEP], ["embeddings"]))
    graph.output[0].type.tensor_type.shape.dim[1].dim_value = head.dimension


def read_head(model: onnx.ModelProto) -> Head | None:
    """Return a model's trained head, or None."""
    initializers = [tensor for tensor in model.graph.initializer if tensor.name.startswith(_PREFIX)]
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in initializers}
    numbers = sorted(int(name.split(".")[1]) for name in tensors if name.endswith(".weight"))
    layers = [(tensors[f"{_PREFIX}.{n}.weight"], tensors[f"{_PREFIX}.{n}.bias"]) for n in numbers]
    return Head(layers, _KEEP in tensors) if layers else None


def apply_head(head: Head, vectors: Vector) -> Vector:
    """Return the head's unit vectors (N, D') for unit vectors (N, D)."""
    given = vectors
    for number, (weight, bias) in enumerate(head.layers):
        vectors = vectors @ weight + bias
        if number < len(head.layers) - 1:
            vectors = np.maximum(vectors, 0)
    unit: Vector = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return np.concatenate([unit, given], axis=1) * _ROOT_HALF if head.keep else unit
