"""A trained head in an ONNX graph: linear layers after a model's vectors, and the L2 norm again."""

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


@dataclass(frozen=True)
class Head:
    """Linear layers, (weight (in, out), bias (out,)) each, with ReLU between; the result is scaled to unit length."""

    layers: list[tuple[Matrix, Matrix]]

    @property
    def dimension(self) -> int:
        """Length of its vectors."""
        return int(self.layers[-1][0].shape[1])


def add_head(model: onnx.ModelProto, head: Head) -> None:
    """Put a head after a model's vectors.

    Raises:
        UsageError: The model has one already.
    """
    graph = model.graph
    if read_head(model) is not None:
        raise UsageError("the model has a trained head already; train one on the model without it")
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
    small = numpy_helper.from_array(np.array(1e-12, np.float32), f"{_PREFIX}.smallest")
    axes = numpy_helper.from_array(np.array([1], np.int64), f"{_PREFIX}.axes")
    graph.initializer.extend([small, axes])
    graph.node.extend(
        [
            helper.make_node("ReduceL2", [current, axes.name], [f"{_PREFIX}.norm"], keepdims=1),
            helper.make_node("Max", [f"{_PREFIX}.norm", small.name], [f"{_PREFIX}.length"]),
            helper.make_node("Div", [current, f"{_PREFIX}.length"], ["embeddings"]),
        ]
    )
    graph.output[0].type.tensor_type.shape.dim[1].dim_value = head.dimension


def read_head(model: onnx.ModelProto) -> Head | None:
    """Return a model's trained head, None if it has none."""
    initializers = [tensor for tensor in model.graph.initializer if tensor.name.startswith(_PREFIX)]
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in initializers}
    numbers = sorted(int(name.split(".")[1]) for name in tensors if name.endswith(".weight"))
    layers = [(tensors[f"{_PREFIX}.{n}.weight"], tensors[f"{_PREFIX}.{n}.bias"]) for n in numbers]
    return Head(layers) if layers else None


def apply_head(head: Head, vectors: Vector) -> Vector:
    """Return the unit vectors (N, D') that a head makes of unit vectors (N, D)."""
    for number, (weight, bias) in enumerate(head.layers):
        vectors = vectors @ weight + bias
        if number < len(head.layers) - 1:
            vectors = np.maximum(vectors, 0)
    unit: Vector = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return unit
