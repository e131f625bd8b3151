"""Write a text tower in torch as a sealed file: its graph, its card and its tokenizer."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from pydantic import TypeAdapter
from tokenizers import Tokenizer

import cbir
from cbir.errors import CbirError
from cbir.index.files import write_atomically
from cbir.models.card import TEXT_CARD, Precision, TextCard
from cbir.models.cleaning import clean
from cbir.models.sealed import BLANK_CHECKSUM, CHECKSUM_FIELD, TEXT_CARD_FIELD, checksum_of, seal
from cbir.models.text_tower import TOKENIZER_FIELD, TextTower
from cbir.records import Vector

from ..graph import export_graph, with_fp16_weights
from .sample_texts import sample_texts

LIMITS: dict[Precision, float] = {"fp32": 0.9999, "fp16": 0.9999, "int8": 0.995}
"""The lowest cosine to torch of any sample text, of a file that is written."""

_STEPS = 127  # of an int8 weight, to either side
_GROUP = 64  # rows of a column with one scale


@dataclass(frozen=True)
class TextRecord:
    """The parity record next to a text tower: the cosines to torch of `texts` sample texts."""

    model: str
    sha256: str
    texts: int
    cosine_min: float
    cosine_p50: float
    limit: float


TEXT_RECORD = TypeAdapter(TextRecord)


def write_tower(module: torch.nn.Module, tokenizer: str, card: TextCard, path: Path) -> TextRecord:
    """Write a text tower, compared with torch on texts in several scripts, and return the record written beside it.

    Raises:
        CbirError: torch cannot export it, or the file differs too much from torch.
    """
    tokens = torch.ones((2, min(7, card.length)), dtype=torch.int64)
    dynamic = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", min=1, max=card.length)}
    model = export_graph(module, tokens, dynamic, "tokens", card.name)
    model.producer_name, model.producer_version = "cbir", cbir.__version__
    if card.precision != "fp32":
        model = with_fp16_weights(model) if card.precision == "fp16" else with_int8_weights(model)
    metadata = {
        TEXT_CARD_FIELD: TEXT_CARD.dump_json(card).decode(),
        TOKENIZER_FIELD: tokenizer,
        CHECKSUM_FIELD: BLANK_CHECKSUM,
    }
    helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    data = seal(model.SerializeToString(deterministic=True))
    draft = path.with_suffix(".draft")
    try:
        write_atomically(draft, data)
        texts = sample_texts()
        cosines = (TextTower(draft).embed(texts) * torch_vectors(module, tokenizer, card, texts)).sum(axis=1)
        lowest = float(cosines.min())
        record = TextRecord(
            card.name, checksum_of(data), len(texts), lowest, float(np.median(cosines)), LIMITS[card.precision]
        )
        if not lowest >= record.limit:
            raise CbirError(
                f"The {card.precision} text tower differs from torch: cosine min {lowest:.5f}, expected at least"
                f" {record.limit}. Please report this"
            )
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    path.with_suffix(".parity.json").write_bytes(TEXT_RECORD.dump_json(record, indent=1) + b"\n")
    return record


def torch_vectors(module: torch.nn.Module, tokenizer: str, card: TextCard, texts: list[str]) -> Vector:
    """Return the (n, D) unit vectors from torch, a text at a time."""
    loaded = Tokenizer.from_str(tokenizer)
    loaded.enable_truncation(card.length)
    with torch.inference_mode():
        rows = [module(torch.tensor([loaded.encode(clean(text, card.cleaning)).ids])) for text in texts]
    vectors: Vector = torch.cat(rows).numpy()
    return vectors


def with_int8_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with matrices stored in int8, with a scale for every 64 rows of a column.

    In a table of tokens, which are rows, each row has one scale. onnxruntime makes the matrices fp32 again when it
    loads the file, so nothing overflows and every processor gives the same vectors.
    """
    small = onnx.ModelProto()
    small.CopyFrom(model)
    tables = {node.input[0] for node in small.graph.node if node.op_type == "Gather"}
    nodes = []
    for tensor in list(small.graph.initializer):
        if tensor.data_type != TensorProto.FLOAT or len(tensor.dims) != 2:
            continue
        name, values = tensor.name, numpy_helper.to_array(tensor)
        rows, columns = values.shape
        groups = (rows, 1, columns) if name in tables else (-1, _GROUP if rows % _GROUP == 0 else rows, columns)
        grouped = values.reshape(groups)
        largest = np.abs(grouped).max(axis=2 if name in tables else 1, keepdims=True)
        scale = np.maximum(largest / _STEPS, np.finfo(np.float32).tiny).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(np.round(grouped / scale).astype(np.int8), f"{name}.int8"))
        small.graph.initializer.append(numpy_helper.from_array(scale, f"{name}.scale"))
        small.graph.initializer.append(numpy_helper.from_array(np.array(values.shape), f"{name}.shape"))
        nodes += [
            helper.make_node("Cast", [f"{name}.int8"], [f"{name}.steps"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{name}.steps", f"{name}.scale"], [f"{name}.groups"]),
            helper.make_node("Reshape", [f"{name}.groups", f"{name}.shape"], [name]),
        ]
    nodes += list(small.graph.node)
    del small.graph.node[:]
    small.graph.node.extend(nodes)
    return small


def without_padding(tokenizer: str) -> str:
    """Return a tokenizer as JSON that pads nothing: the text tower pads the texts of a batch to one length."""
    loaded = Tokenizer.from_str(tokenizer)
    loaded.no_padding()
    loaded.no_truncation()
    return loaded.to_str()
