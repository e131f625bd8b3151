"""Convolutions are merged without a change, and rounded such that their outputs change little."""

from typing import Any

import numpy as np
import onnxruntime
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

from cbir.export.convert.rounding import STEPS, merge_pointwise, round_weights
from onnx import TensorProto, helper, numpy_helper

RNG = np.random.default_rng(1)


@pytest.fixture(autouse=True)
def same_numbers_in_any_order() -> None:
    RNG.bit_generator.state = np.random.default_rng(1).bit_generator.state


def model(*convolutions: tuple[Any, dict[str, Any]], with_bias: bool = True, between: str = "", users: int = 1) -> Any:
    """Return a graph of convolutions in a row, from pixels in 16 x 16 to planes, with an operator between them."""
    nodes = [
        helper.make_node("Transpose", ["images"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["floats"], to=TensorProto.FLOAT),
    ]
    tensors, name = [], "floats"
    for number, (weight, options) in enumerate(convolutions):
        if number and between:
            nodes.append(helper.make_node(between, [name], [f"{name} {between}"]))
            name = f"{name} {between}"
        inputs = [name, f"w{number}"]
        tensors.append(numpy_helper.from_array(weight.astype(np.float32), f"w{number}"))
        if with_bias:
            inputs.append(f"b{number}")
            tensors.append(numpy_helper.from_array(RNG.normal(size=len(weight)).astype(np.float32), f"b{number}"))
        name = f"out{number}"
        nodes.append(helper.make_node("Conv", inputs, [name], name=f"conv{number}", **options))
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)]
    outputs += [helper.make_tensor_value_info("out0", TensorProto.FLOAT, None)] * (users - 1)
    pixels = helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", 16, 16, 3])
    graph = helper.make_graph(nodes, "g", [pixels], outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def run(made: Any, pixels: Any) -> Any:
    return onnxruntime.InferenceSession(made.SerializeToString()).run(None, {"images": pixels})[0]


def white_images() -> Any:
    """Return images with a white background and a dark, noisy object."""
    pixels = np.full((16, 16, 16, 3), 255, np.uint8)
    pixels[:, 4:11, 5:12] = RNG.integers(0, 120, (16, 7, 7, 3))
    return pixels


def weights_of(made: Any) -> Any:
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in made.graph.initializer}
    return [tensors[node.input[1]] for node in made.graph.node if node.op_type == "Conv"]


@pytest.mark.parametrize("with_bias", [True, False])
def test_two_pointwise_convolutions_become_one_with_the_same_outputs(with_bias: bool) -> None:
    narrow = [(RNG.normal(size=(4, 3, 1, 1)), {}), (RNG.normal(size=(6, 4, 1, 1)), {})]
    made = model(*narrow, with_bias=with_bias)
    before = run(made, white_images()[:2])
    merge_pointwise(made.graph)
    merged = with_bias  # without a bias in the first there is none to merge
    assert len(weights_of(made)) == (1 if merged else 2)
    np.testing.assert_allclose(run(made, white_images()[:2])[..., :3, :3], before[..., :3, :3], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("first", "second", "options", "between"),
    [
        ((4, 3, 1, 1), (6, 4, 1, 1), {}, "Relu"),
        ((4, 3, 1, 1), (6, 4, 1, 1), {"strides": [2, 2]}, ""),
        ((4, 3, 1, 1), (6, 4, 3, 3), {"pads": [1] * 4}, ""),
        ((4, 3, 1, 1), (4, 1, 1, 1), {"group": 4}, ""),
        ((1, 3, 1, 1), (60, 1, 1, 1), {}, ""),  # 63 weights would become 180
    ],
)
def test_other_convolutions_are_not_merged(first: Any, second: Any, options: dict[str, Any], between: str) -> None:
    made = model((RNG.normal(size=first), {}), (RNG.normal(size=second), options), between=between)
    merge_pointwise(made.graph)
    assert len(weights_of(made)) == 2


def test_a_convolution_whose_output_others_use_is_not_merged() -> None:
    made = model((RNG.normal(size=(4, 3, 1, 1)), {}), (RNG.normal(size=(6, 4, 1, 1)), {}), users=2)
    merge_pointwise(made.graph)
    assert len(weights_of(made)) == 2


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((8, 3, 3, 3), {"pads": [1, 1, 1, 1]}),
        ((12, 1, 5, 5), {"group": 3, "strides": [2, 2], "pads": [2, 1, 2, 1]}),
        ((16, 3, 1, 1), {}),
    ],
)
@pytest.mark.parametrize("with_bias", [True, False])
def test_rounding_changes_outputs_less_than_rounding_to_the_nearest_step(
    shape: Any, options: dict[str, Any], with_bias: bool
) -> None:
    weight = RNG.normal(size=shape)
    weight -= weight.mean(axis=(1, 2, 3), keepdims=True)  # an edge detector: a shift of its sum matters
    weight.reshape(len(weight), -1)[:, 0] *= 6  # coarse steps
    made, pixels = model((weight, options), with_bias=with_bias), white_images()
    before = run(made, pixels)
    step = np.abs(weight).max(axis=(1, 2, 3), keepdims=True) / STEPS
    nearest = onnx.ModelProto()
    nearest.CopyFrom(made)
    nearest.graph.initializer[0].CopyFrom(
        numpy_helper.from_array((np.round(weight / step) * step).astype(np.float32), "w0")
    )
    round_weights(made, list(pixels), set())
    (rounded,) = weights_of(made)
    np.testing.assert_allclose(rounded / step, np.round(rounded / step), atol=1e-3)
    np.testing.assert_allclose(np.abs(rounded).max(axis=(1, 2, 3)), np.abs(weight).max(axis=(1, 2, 3)), rtol=1e-5)
    changed = run(made, pixels) - before
    assert np.square(changed).mean() < 0.5 * np.square(run(nearest, pixels) - before).mean()
    assert np.abs(changed.mean(axis=(0, 2, 3))).max() < 0.01 * np.abs(before).max()


def test_a_kept_convolution_is_not_rounded() -> None:
    made = model((RNG.normal(size=(4, 3, 3, 3)), {}))
    before = weights_of(made)[0].copy()
    round_weights(made, list(white_images()), {"conv0"})
    np.testing.assert_array_equal(weights_of(made)[0], before)
