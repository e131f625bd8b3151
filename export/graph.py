"""ONNX graphs: export from torch, smaller weights, and nothing in them about the machine that wrote them."""

import logging
import warnings
from collections.abc import Iterable
from itertools import chain
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from cbir.errors import CbirError
from cbir.text import one_line

OPSET = 18
IR_VERSION = 10  # the newest version that all supported releases of onnxruntime can read


def export_graph(
    module: torch.nn.Module, example: torch.Tensor, dynamic: dict[int, Any], input_name: str, model_name: str
) -> onnx.ModelProto:
    """Return the graph of a module in fp32, simplified, with one output `embeddings`.

    `dynamic` maps the dimensions of the input that may change to a `torch.export.Dim`. Raise `CbirError` if torch
    cannot export the module.
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter warns about its own deprecated calls
            program = torch.onnx.export(
                module.eval(),
                (example,),
                input_names=[input_name],
                output_names=["embeddings"],
                dynamic_shapes=(dynamic,),
                opset_version=OPSET,
                dynamo=True,
                optimize=True,
                verbose=False,
            )
    except Exception as error:  # the exporter's errors share no base class
        reason = f"{type(error).__name__}: {one_line(error)[:200]}"
        raise CbirError(f"torch cannot export {model_name} to ONNX: {reason}") from None
    model: onnx.ModelProto = program.model_proto
    model.ir_version = IR_VERSION
    _remove_source_info(model)
    return model


def with_fp16_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with matrices and filters stored in fp16 and cast to fp32; onnxruntime folds the casts."""
    small = onnx.ModelProto()
    small.CopyFrom(model)
    casts = []
    for tensor in small.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or len(tensor.dims) < 2:
            continue
        values = numpy_helper.to_array(tensor)
        if np.abs(values).max(initial=0) > np.finfo(np.float16).max:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.fp16"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], name=f"{name}.fp32", to=TensorProto.FLOAT))
    nodes = [*casts, *small.graph.node]
    del small.graph.node[:]
    small.graph.node.extend(nodes)
    return small


def _remove_source_info(model: onnx.ModelProto) -> None:
    """Remove this machine's source paths and stack traces from the graph."""
    graph = model.graph
    named: tuple[Iterable[Any], ...] = (graph.node, graph.initializer, graph.input, graph.output, graph.value_info)
    for part in (model, graph, *chain.from_iterable(named)):
        del part.metadata_props[:]
        part.doc_string = ""
    del graph.value_info[:]
