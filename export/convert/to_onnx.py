"""Convert a backbone to one ONNX graph from uint8 pixels to unit vectors."""

import logging
import warnings
from collections.abc import Iterable
from itertools import chain
from typing import Any

import numpy as np
import onnx
import timm
import torch
from onnx import TensorProto, helper, numpy_helper

import cbir
from cbir.errors import CbirError
from cbir.images.decode import PREPROCESSING_VERSION
from cbir.models.card import ModelCard, Precision
from cbir.text import one_line

from ..backbone import Loaded

OPSET = 18
IR_VERSION = 10  # the newest version that all supported releases of onnxruntime can read


class Embedding(torch.nn.Module):  # type: ignore[misc]
    """The whole model: cast, normalisation, layout, backbone and L2 norm."""

    def __init__(self, loaded: Loaded):
        super().__init__()
        self.backbone = loaded.module
        for name in ("mean", "std"):
            self.register_buffer(name, 255 * torch.tensor(loaded.config[name], dtype=torch.float32).view(1, 3, 1, 1))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return float32 (N, D) unit vectors for uint8 (N, H, W, 3) pixels."""
        return self.features(pixels.permute(0, 3, 1, 2))

    def features(self, planes: torch.Tensor) -> torch.Tensor:
        """Return float32 (N, D) unit vectors for uint8 (N, 3, H, W) planes."""
        vectors: torch.Tensor = self.backbone((planes.to(torch.float32) - self.mean) / self.std)
        return vectors / vectors.norm(dim=1, keepdim=True).clamp_min(1e-12)


def export(loaded: Loaded) -> onnx.ModelProto:
    """Return the backbone's graph in fp32, simplified, with a dynamic batch."""
    side = loaded.rule.size
    pixels = torch.zeros((2, side, side, 3), dtype=torch.uint8)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter warns about its own deprecated calls
            program = torch.onnx.export(
                Embedding(loaded).eval(),
                (pixels,),
                input_names=["images"],
                output_names=["embeddings"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                opset_version=OPSET,
                dynamo=True,
                optimize=True,
                verbose=False,
            )
    except Exception as error:  # the exporter's errors share no base class
        reason = f"{type(error).__name__}: {one_line(error)[:200]}"
        raise CbirError(f"torch cannot export {loaded.backbone.name} to ONNX: {reason}") from None
    model: onnx.ModelProto = program.model_proto
    model.ir_version = IR_VERSION
    remove_source_info(model)
    return model


def card_for(loaded: Loaded, name: str, precision: Precision) -> ModelCard:
    """Return the model card of an export."""
    return ModelCard(
        name=name,
        backbone=loaded.backbone.name,
        dimension=loaded.dimension,
        input=loaded.rule,
        mean=tuple(loaded.config["mean"]),
        std=tuple(loaded.config["std"]),
        weights=loaded.weights.origin,
        weights_sha256=loaded.weights.sha256,
        random_weights=loaded.weights.random,
        license=loaded.backbone.license,
        precision=precision,
        preprocessing=PREPROCESSING_VERSION,
        exporter={"cbir": cbir.__version__, "torch": torch.__version__, "timm": timm.__version__},
    )


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


def remove_source_info(model: onnx.ModelProto) -> None:
    """Remove this machine's source paths and stack traces from the graph."""
    graph = model.graph
    named: tuple[Iterable[Any], ...] = (graph.node, graph.initializer, graph.input, graph.output, graph.value_info)
    for part in (model, graph, *chain.from_iterable(named)):
        del part.metadata_props[:]
        part.doc_string = ""
    del graph.value_info[:]
