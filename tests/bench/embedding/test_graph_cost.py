"""What a graph costs, against the figures that timm and torchvision publish, and by hand."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from cbir.bench.embedding.graph_cost import graph_cost
from onnx import TensorProto, helper, numpy_helper

from cbir.models.sealed import find_model


def written(path: Path, nodes: list[onnx.NodeProto], shape: list[int | str], **weights: np.ndarray) -> Path:
    """Write a graph from `x` to `y`."""
    tensors = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in (("x", shape), ("y", None)))
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", [x], [y], tensors)), path)
    return path


def test_the_packaged_model_has_the_published_cost() -> None:
    """timm: 3.37 million parameters with those of the norms, 0.384 billion multiply-adds at 224 pixels."""
    cost = graph_cost(find_model("efficientnet_lite0"))
    assert cost.parameters == pytest.approx(3.37, abs=0.05)
    assert cost.gigamacs == pytest.approx(0.384, abs=0.001)


def test_convolutions_and_products_by_hand(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "filters"], ["maps"], strides=[2, 2], group=2),
        helper.make_node("GlobalAveragePool", ["maps"], ["means"]),
        helper.make_node("Flatten", ["means"], ["flat"]),
        helper.make_node("MatMul", ["flat", "first"], ["hidden"]),
        helper.make_node("Gemm", ["hidden", "second"], ["y"], transB=1),
    ]
    weights = {"filters": np.zeros((6, 2, 2, 2)), "first": np.zeros((6, 5)), "second": np.zeros((3, 5))}
    cost = graph_cost(written(tmp_path / "m.onnx", nodes, ["batch", 4, 8, 8], **weights))
    assert cost.parameters == pytest.approx((48 + 30 + 15) / 1e6)
    assert cost.gigamacs == pytest.approx((6 * 4 * 4 * 8 + 6 * 5 + 5 * 3) / 1e9)


def test_a_shape_that_is_not_known_gives_no_number(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "first"], ["y"])]
    cost = graph_cost(written(tmp_path / "m.onnx", nodes, [1, "any", 4], first=np.zeros((4, 3))))
    assert cost.gigamacs is None
