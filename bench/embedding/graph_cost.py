"""What a model file costs, read from its graph: parameters, and multiply-adds for an image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import onnx
from onnx import helper, shape_inference

_PRODUCTS = ("Conv", "Gemm", "MatMul")
_WEIGHTS = 2
"""A tensor of at least so many dimensions is a weight; the others are biases, scales, and shapes."""


@dataclass(frozen=True)
class GraphCost:
    """Millions of weights, and billions of multiply-adds of convolutions and matrix products for an image.

    The multiply-adds are None if a shape in the graph is missing.
    """

    parameters: float
    gigamacs: float | None


def graph_cost(path: Path) -> GraphCost:
    """Return the cost of a model file. Biases, norms and activations are left out: they are a hundredth of it."""
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    graph = shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.value_info, *graph.input, *graph.output):
        shapes[value.name] = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    products = [_multiply_adds(node, shapes) for node in graph.node]
    weights = sum(prod(tensor.dims) for tensor in graph.initializer if len(tensor.dims) >= _WEIGHTS)
    complete = all(products[number] for number, node in enumerate(graph.node) if node.op_type in _PRODUCTS)
    return GraphCost(weights / 1e6, sum(products) / 1e9 if complete else None)


def _multiply_adds(node: onnx.NodeProto, shapes: Mapping[str, Sequence[int]]) -> int:
    """Return the multiply-adds of a node, 0 for other operators and where a shape is missing."""
    if node.op_type not in _PRODUCTS:
        return 0
    result, first = shapes.get(node.output[0], [0]), shapes.get(node.input[0], [0])
    if node.op_type == "Conv":
        return prod(result) * prod(shapes[node.input[1]][1:])
    transposed = any(item.name == "transA" and helper.get_attribute_value(item) for item in node.attribute)
    return prod(result) * first[0 if transposed else -1]
