"""ONNX graphs: export from torch, smaller weights, and the sealed file. Only the export needs torch.

Nothing in a graph tells about the machine that wrote it.
"""

import logging
import warnings
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

import cbir
from cbir.errors import CbirError
from cbir.models.sealed import BLANK_CHECKSUM, CHECKSUM_FIELD, seal
from cbir.text import one_line

if TYPE_CHECKING:
    import torch

OPSET = 18
IR_VERSION = 10  # the newest version that all supported releases of onnxruntime can read

_STEPS = 127  # of an int8 weight, to either side
_GROUP = 64  # rows of a column with one scale

Floats = npt.NDArray[np.float32]
Stored = tuple[list[onnx.TensorProto], list[onnx.NodeProto]]
"""A tensor as it is stored, further tensors, and the nodes that make the tensor of them again."""


def export_graph(
    module: "torch.nn.Module", example: "torch.Tensor", dynamic: dict[int, Any], input_name: str, model_name: str
) -> onnx.ModelProto:
    """Return the graph of a module in fp32, simplified, with one output `embeddings`.

    `dynamic` maps the dimensions of the input that may change to a `torch.export.Dim`. Raise `CbirError` if torch
    cannot export the module.
    """
    import torch

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

    def store(name: str, values: Floats) -> Stored | None:
        if np.abs(values).max(initial=0) > np.finfo(np.float16).max:
            return None
        small = numpy_helper.from_array(values.astype(np.float16), f"{name}.fp16")
        cast = helper.make_node("Cast", [small.name], [name], name=f"{name}.fp32", to=TensorProto.FLOAT)
        return [small], [cast]

    return _with_weights(model, store)


def with_int8_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with matrices stored in int8, with a scale for every 64 rows of a column.

    In a table of tokens, which are rows, each row has one scale. onnxruntime makes the matrices fp32 again when it
    loads the file, so nothing overflows and every processor gives the same vectors.
    """
    tables = {node.input[0] for node in model.graph.node if node.op_type == "Gather"}

    def store(name: str, values: Floats) -> Stored | None:
        if values.ndim != 2:
            return None
        rows, columns = values.shape
        groups = (rows, 1, columns) if name in tables else (-1, _GROUP if rows % _GROUP == 0 else rows, columns)
        grouped = values.reshape(groups)
        largest = np.abs(grouped).max(axis=2 if name in tables else 1, keepdims=True)
        scale = np.maximum(largest / _STEPS, np.finfo(np.float32).tiny).astype(np.float32)
        tensors = [
            numpy_helper.from_array(np.round(grouped / scale).astype(np.int8), f"{name}.int8"),
            numpy_helper.from_array(scale, f"{name}.scale"),
            numpy_helper.from_array(np.array(values.shape), f"{name}.shape"),
        ]
        nodes = [
            helper.make_node("Cast", [f"{name}.int8"], [f"{name}.steps"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{name}.steps", f"{name}.scale"], [f"{name}.groups"]),
            helper.make_node("Reshape", [f"{name}.groups", f"{name}.shape"], [name]),
        ]
        return tensors, nodes

    return _with_weights(model, store)


def sealed_file(model: onnx.ModelProto, metadata: Mapping[str, str]) -> bytes:
    """Return the file of a model with this metadata and its checksum."""
    model.producer_name, model.producer_version = "cbir", cbir.__version__
    helper.set_model_props(model, {**metadata, CHECKSUM_FIELD: BLANK_CHECKSUM})
    onnx.checker.check_model(model, full_check=True)
    return seal(model.SerializeToString(deterministic=True))


def _with_weights(model: onnx.ModelProto, store: Callable[[str, Floats], Stored | None]) -> onnx.ModelProto:
    """Return the model with its matrices and filters as `store` stores them, by name; None leaves one as it is."""
    small = onnx.ModelProto()
    small.CopyFrom(model)
    nodes: list[onnx.NodeProto] = []
    for tensor in list(small.graph.initializer):
        if tensor.data_type != TensorProto.FLOAT or len(tensor.dims) < 2:
            continue
        stored = store(tensor.name, numpy_helper.to_array(tensor))
        if stored is not None:
            (first, *more), its_nodes = stored
            tensor.CopyFrom(first)
            small.graph.initializer.extend(more)
            nodes += its_nodes
    nodes += small.graph.node
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
