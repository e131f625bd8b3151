"""Backbone to one ONNX graph: uint8 pixels in, unit vectors out, its model card and seal inside."""

import logging
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import timm
import torch
from onnx import TensorProto, helper, numpy_helper

import cbir
from cbir.errors import CbirError
from cbir.images.decode import PREPROCESSING_VERSION
from cbir.models.sealed import CARD, CARD_FIELD, SEAL_FIELD, UNSEALED, ModelCard, Precision, seal, seal_of

from ..backbone import Loaded

OPSET = 18
IR_VERSION = 10
"""What every released onnxruntime that cbir allows can read; the exporter would write its newest."""

MAX_BYTES = 2**31 - 1
"""The most that one ONNX file can hold."""


class Embedding(torch.nn.Module):  # type: ignore[misc]
    """The whole function: cast, normalisation, layout, backbone and L2 norm."""

    def __init__(self, loaded: Loaded):
        super().__init__()
        self.backbone = loaded.module
        for name in ("mean", "std"):
            self.register_buffer(name, 255 * torch.tensor(loaded.config[name], dtype=torch.float32).view(1, 3, 1, 1))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return float32 (N, D) unit vectors for uint8 (N, H, W, 3) pixels."""
        planes = pixels.permute(0, 3, 1, 2).to(torch.float32)
        vectors: torch.Tensor = self.backbone((planes - self.mean) / self.std)
        return vectors / vectors.norm(dim=1, keepdim=True).clamp_min(1e-12)


def export(loaded: Loaded) -> onnx.ModelProto:
    """Return the backbone's graph in fp32, simplified, with a dynamic batch.

    Raises:
        CbirError: torch cannot export this architecture.
    """
    side = loaded.rule.size
    pixels = torch.zeros((2, side, side, 3), dtype=torch.uint8)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter warns of its own deprecations
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
        first = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise CbirError(f"torch cannot export {loaded.backbone.name}: {type(error).__name__}: {first[:200]}") from None
    model: onnx.ModelProto = program.model_proto
    model.ir_version = IR_VERSION
    _forget_origin(model)
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


def write(model: onnx.ModelProto, card: ModelCard, path: Path) -> str:
    """Write the model with its card, sealed, and return the seal; the file is there whole or not at all.

    Raises:
        CbirError: It is larger than one ONNX file can be, or not valid.
    """
    model.producer_name, model.producer_version = "cbir", cbir.__version__
    helper.set_model_props(model, {CARD_FIELD: CARD.dump_json(card).decode(), SEAL_FIELD: UNSEALED})
    size = sum(len(tensor.raw_data) for tensor in model.graph.initializer)  # ByteSize() fails above the limit itself
    if size > MAX_BYTES - 2**24:
        raise CbirError(f"{card.name} has {size / 1e9:.1f} GB in {card.precision}, more than one ONNX file can hold")
    onnx.checker.check_model(model, full_check=True)
    beside = path.with_name(path.name + ".tmp")
    data = seal(model.SerializeToString(deterministic=True))
    beside.write_bytes(data)
    beside.replace(path)
    return seal_of(data)


def store_as_fp16(model: onnx.ModelProto) -> None:
    """Keep weight matrices and filters as fp16 and cast them in the graph; onnxruntime folds the casts on loading."""
    graph, casts = model.graph, []
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) >= 2:
            name = tensor.name
            values = numpy_helper.to_array(tensor)
            if np.abs(values).max(initial=0) > np.finfo(np.float16).max:
                continue
            half = numpy_helper.from_array(values.astype(np.float16), f"{name}.fp16")
            tensor.CopyFrom(half)
            casts.append(helper.make_node("Cast", [half.name], [name], name=f"{name}.fp32", to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _forget_origin(model: onnx.ModelProto) -> None:
    """Drop what the exporter notes of this machine: source paths and stack traces."""
    graph = model.graph
    parts: Iterable[Any] = (
        model,
        graph,
        *graph.node,
        *graph.initializer,
        *graph.input,
        *graph.output,
        *graph.value_info,
    )
    for part in parts:
        del part.metadata_props[:]
        part.doc_string = ""
    del graph.value_info[:]
