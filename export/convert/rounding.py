"""Prepare the convolutions of an fp32 graph for int8: merge some, and round their weights to what int8 can hold.

The quantizer rounds each weight to the nearest step. A filter that sums to nearly zero then no longer does, and a white
background shifts all that follows. Here a weight is rounded up or down such that the outputs of the convolution change
least, measured by the second moments of its inputs on real images. The quantizer finds the same steps again.
"""

from collections.abc import Sequence, Set
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from cbir.images.preprocessing import Pixels

Floats = npt.NDArray[np.float32]

STEPS = 127  # of an int8 weight, to either side
_BATCH = 8
_POSITIONS = 2048  # of a batch, at which a convolution's inputs are looked at
_SWEEPS = 4
_DAMPING = 0.01  # of the mean second moment: how much a weight's own error counts
_MOST_INPUTS = 8192  # of one output; the second moments need the square of it in memory
_MERGE_COST = 1.5


def merge_pointwise(graph: onnx.GraphProto) -> None:
    """Merge a 1x1 convolution with a 1x1 convolution that alone follows it, if that costs little more arithmetic.

    What lies between them, often the narrow end of a block without activation, is then not rounded.
    """
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for second in [node for node in graph.node if _is_pointwise(node, weights)]:
        first = next((node for node in graph.node if second.input[0] in node.output), None)
        users = [node for node in graph.node if second.input[0] in node.input]
        users += [output for output in graph.output if output.name == second.input[0]]
        if first is None or not _is_pointwise(first, weights) or len(users) > 1 or len(first.input) < 3:
            continue
        a, b = (numpy_helper.to_array(weights[node.input[1]])[:, :, 0, 0] for node in (first, second))
        if a.shape[1] * b.shape[0] > _MERGE_COST * (a.size + b.size):
            continue
        bias = b @ numpy_helper.to_array(weights[first.input[2]])
        if len(second.input) > 2:
            bias = bias + numpy_helper.to_array(weights[second.input[2]])
        _set(graph, second, (b @ a)[:, :, None, None], bias)
        second.input[0] = first.input[0]
        graph.node.remove(first)


def round_weights(model: onnx.ModelProto, pixels: Sequence[Pixels], keep: Set[str]) -> None:
    """Round the weights of all convolutions but those named in `keep`, for the inputs that these pixels give them."""
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    chosen = [node for node in graph.node if node.name not in keep and _is_plain(node, weights)]
    if not chosen:  # a transformer may have none but its stem
        return
    for node, (second, mean) in zip(chosen, _moments(model, chosen, pixels), strict=True):
        weight = numpy_helper.to_array(weights[node.input[1]])
        rounded = _rounded(weight.reshape(len(mean), -1, mean.shape[1]), second)
        lost = (weight.reshape(rounded.shape) - rounded) @ mean[:, :, None]  # on average; the bias makes up for it
        bias = lost.reshape(-1)
        if len(node.input) > 2:
            bias = bias + numpy_helper.to_array(weights[node.input[2]])
        _set(graph, node, rounded.reshape(weight.shape), bias)


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Return the attributes of a node."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _is_plain(node: onnx.NodeProto, weights: dict[str, onnx.TensorProto]) -> bool:
    """Return True for a convolution of images with constant weights and explicit padding."""
    if node.op_type != "Conv" or not all(name in weights for name in node.input[1:]):
        return False
    found, dims = attributes(node), weights[node.input[1]].dims
    explicit = found.get("auto_pad", b"NOTSET") == b"NOTSET" and set(found.get("dilations", [1])) == {1}
    return explicit and len(dims) == 4 and int(np.prod(dims[1:])) <= _MOST_INPUTS


def _is_pointwise(node: onnx.NodeProto, weights: dict[str, onnx.TensorProto]) -> bool:
    if not _is_plain(node, weights) or list(weights[node.input[1]].dims[2:]) != [1, 1]:
        return False
    found = attributes(node)
    return found.get("group", 1) == 1 and {*found.get("strides", [1])} == {1} and not any(found.get("pads", []))


def _set(graph: onnx.GraphProto, node: onnx.NodeProto, weight: npt.ArrayLike, bias: npt.ArrayLike) -> None:
    """Give a convolution a weight and a bias of its own."""
    del node.input[1:]
    for part, values in (("weight", weight), ("bias", bias)):
        name = f"{node.output[0]}.{part}"
        for old in [tensor for tensor in graph.initializer if tensor.name == name]:
            graph.initializer.remove(old)
        graph.initializer.append(numpy_helper.from_array(np.asarray(values, np.float32), name))
        node.input.append(name)


def _moments(
    model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], pixels: Sequence[Pixels]
) -> list[tuple[Floats, Floats]]:
    """Return for each convolution the second moments (groups, d, d) and means (groups, d) of an output's d inputs."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    names = sorted({node.input[0] for node in nodes})
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    shown.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it warns of each weight that is no longer used
    session = onnxruntime.InferenceSession(shown.SerializeToString(), options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    starts = range(0, len(pixels), _BATCH)
    sums: list[tuple[Any, Any]] = [(0.0, 0.0)] * len(nodes)
    for start in starts:
        batch = np.stack(pixels[start : start + _BATCH])
        inputs = dict(zip(names, session.run(names, {"images": batch}), strict=True))
        for index, node in enumerate(nodes):
            patches = _patches(inputs[node.input[0]], node, shapes[node.input[1]], rng)
            second = patches.transpose(0, 2, 1) @ patches / patches.shape[1]
            sums[index] = (sums[index][0] + second, sums[index][1] + patches.mean(axis=1))
    return [(second / len(starts), mean / len(starts)) for second, mean in sums]


def _patches(images: Floats, node: onnx.NodeProto, shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Return what a convolution sees at some positions, (groups, positions, d)."""
    found = attributes(node)
    top, left, bottom, right = found.get("pads", [0, 0, 0, 0])
    down, across = found.get("strides", [1, 1])
    padded = np.pad(images, ((0, 0), (0, 0), (top, bottom), (left, right)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, shape[2:], axis=(2, 3))[:, :, ::down, ::across]
    count = windows.shape[0] * windows.shape[2] * windows.shape[3]
    chosen = np.sort(rng.choice(count, min(count, _POSITIONS), replace=False))
    image, y, x = np.unravel_index(chosen, (windows.shape[0], *windows.shape[2:4]))
    groups = found.get("group", 1)
    patches = windows[image, :, y, x].reshape(len(chosen), groups, -1).transpose(1, 0, 2)
    return np.ascontiguousarray(patches, np.float32)


def _rounded(weight: Floats, second: Floats) -> Floats:
    """Return weights (groups, outputs, d) rounded to steps, such that the outputs change little.

    The weights are rounded to the nearest step, and then changed one by one to the step that is best given the others.
    """
    step = np.maximum(np.abs(weight).max(axis=2, keepdims=True) / STEPS, np.finfo(np.float32).tiny)
    whole = np.round(weight / step)
    largest = np.abs(whole) == STEPS  # the quantizer takes the size of a step from these
    inputs = np.arange(weight.shape[2])
    cost = second.astype(np.float64)
    own = cost[:, inputs, inputs]
    cost[:, inputs, inputs] += _DAMPING * own.mean(axis=1, keepdims=True) + np.finfo(np.float32).tiny
    error = (weight - whole * step).astype(np.float64)
    slope = error @ cost
    for _ in range(_SWEEPS):
        for i in inputs:
            best = error[:, :, i] - slope[:, :, i] / cost[:, i, i][:, None]
            to = np.clip(np.round((weight[:, :, i] - best) / step[:, :, 0]), 1 - STEPS, STEPS - 1)
            to = np.where(largest[:, :, i], whole[:, :, i], to)
            change = (whole[:, :, i] - to) * step[:, :, 0]
            group, output = np.nonzero(change)
            slope[group, output] += change[group, output, None] * cost[group, i]
            error[:, :, i] += change
            whole[:, :, i] = to
    return np.asarray(whole * step, np.float32)
