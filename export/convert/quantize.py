"""Quantize weights and arithmetic of a graph to int8, calibrated on real images.

Static QDQ, per channel, with unsigned activations and signed weights. The uint8 pixels are the first activation.

On processors without VNNI, onnxruntime's usual kernels overflow with such weights; `cbir.models.runtime` makes it use
exact ones there. Weights of 7 bits would not overflow, but lowered the median cosine of EfficientNet-Lite0 from 0.99 to
0.93.
"""

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from cbir.images.preprocessing import Pixels

CALIBRATION_IMAGES = 128
_BATCH = 8
_PIXELS = "centred_pixels"


class _Images(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, pixels: Sequence[Pixels]):
        self._batches = iter([np.stack(pixels[i : i + _BATCH]) for i in range(0, len(pixels), _BATCH)])

    def get_next(self) -> dict[str, Pixels] | None:
        """Return the next batch, None after the last."""
        batch = next(self._batches, None)
        return None if batch is None else {"images": batch}


def quantize(model: onnx.ModelProto, pixels: Sequence[Pixels]) -> onnx.ModelProto:
    """Return the int8 graph of an fp32 graph, calibrated on these pixels, uint8 (H, W, 3) each."""
    folded = onnx.ModelProto()
    folded.CopyFrom(model)
    centre = _fold_normalisation(folded.graph)
    overrides = {}
    if centre is not None:  # pixels minus `centre` are integers, so this quantization is exact
        zero_point = np.array(centre, np.uint8)
        exact = {"scale": np.array(1, np.float32), "zero_point": zero_point, "quant_type": QuantType.QUInt8}
        overrides[_PIXELS] = [exact]
    with tempfile.TemporaryDirectory() as folder, _quiet():
        plain, ready, done = (Path(folder) / f"{name}.onnx" for name in ("plain", "ready", "int8"))
        onnx.save(folded, plain)
        quant_pre_process(plain, ready, skip_symbolic_shape=True)
        quantize_static(
            ready,
            done,
            _Images(pixels),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={"TensorQuantOverrides": overrides},
        )
        quantized: onnx.ModelProto = onnx.load(done)
    if centre is not None:
        _start_from_pixels(quantized.graph)
    return quantized


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the quantizer, which logs a line for every tensor to the root logger."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _fold_normalisation(graph: onnx.GraphProto) -> int | None:
    """Fold mean and deviation into the first convolution, and return the grey level that is subtracted instead.

    The grey level is the mean of the three channel means, and the convolution now pads all channels with it. ImageNet's
    means are within 10 of 255 levels of it. Return None, and leave the graph unchanged, if it does not begin with a
    convolution of three channels.
    """
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    users = {name: [node for node in graph.node if name in node.input] for node in graph.node for name in node.output}
    subtract = next((node for node in graph.node if node.op_type == "Sub" and node.input[1] == "mean"), None)
    if subtract is None:
        return None
    divide = users[subtract.output[0]][0]
    followers = users[divide.output[0]]
    if divide.op_type != "Div" or [node.op_type for node in followers] != ["Conv"]:
        return None
    convolution = followers[0]
    if not all(name in tensors for name in convolution.input[1:]) or tensors[convolution.input[1]].dims[1] != 3:
        return None
    mean, deviation = (numpy_helper.to_array(tensors[node.input[1]]).reshape(3) for node in (subtract, divide))
    weight = numpy_helper.to_array(tensors[convolution.input[1]]) / deviation[None, :, None, None]
    centre = round(float(mean.mean()))
    shift = -(weight * (mean - centre)[None, :, None, None]).sum(axis=(1, 2, 3))
    if len(convolution.input) > 2:
        shift = shift + numpy_helper.to_array(tensors[convolution.input[2]])
    added = {
        "folded_weight": weight.astype(np.float32),
        "folded_bias": shift.astype(np.float32),
        "centre": np.array(centre, np.float32),
    }
    graph.initializer.extend(numpy_helper.from_array(values, name) for name, values in added.items())
    del convolution.input[:]
    convolution.input.extend([_PIXELS, "folded_weight", "folded_bias"])
    subtract.input[1], subtract.output[0] = "centre", _PIXELS
    graph.node.remove(divide)
    _drop_unused(graph)
    return centre


def _start_from_pixels(graph: onnx.GraphProto) -> None:
    """Use the pixels as quantized input of the first convolution, without a cast to floats and back."""
    made_by = {name: node for node in graph.node for name in node.output}
    quantizer = next(node for node in graph.node if node.op_type == "QuantizeLinear" and node.input[0] == _PIXELS)
    subtract = made_by[_PIXELS]
    cast = made_by[subtract.input[0]]
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] == quantizer.output[0]:
            node.input[0] = cast.input[0]
    for node in (quantizer, subtract, cast):
        graph.node.remove(node)
    _drop_unused(graph)


def _drop_unused(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    unused = [tensor for tensor in graph.initializer if tensor.name not in used]
    for tensor in unused:
        graph.initializer.remove(tensor)
