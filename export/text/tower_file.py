"""Write a text tower in torch as a sealed file: its graph, its card and its tokenizer."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import TypeAdapter
from tokenizers import Tokenizer

from cbir.errors import CbirError
from cbir.index.files import write_atomically
from cbir.models.card import TEXT_CARD, Precision, TextCard
from cbir.models.cleaning import clean
from cbir.models.sealed import TEXT_CARD_FIELD, checksum_of
from cbir.models.text_tower import TOKENIZER_FIELD, TextTower
from cbir.records import Vector

from ..graph import export_graph, sealed_file, with_fp16_weights, with_int8_weights
from .sample_texts import sample_texts

LIMITS: dict[Precision, float] = {"fp32": 0.9999, "fp16": 0.9999, "int8": 0.995}
"""The lowest cosine to torch of any sample text, of a file that is written."""


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
    """Write a text tower, compared with torch on texts in several scripts, and return the record written next to it.

    Raises:
        CbirError: torch cannot export it, or the file differs too much from torch.
    """
    tokens = torch.ones((2, min(7, card.length)), dtype=torch.int64)
    dynamic = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", min=1, max=card.length)}
    model = export_graph(module, tokens, dynamic, "tokens", card.name)
    if card.precision != "fp32":
        model = with_fp16_weights(model) if card.precision == "fp16" else with_int8_weights(model)
    data = sealed_file(model, {TEXT_CARD_FIELD: TEXT_CARD.dump_json(card).decode(), TOKENIZER_FIELD: tokenizer})
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


def without_padding(tokenizer: str) -> str:
    """Return a tokenizer as JSON that pads nothing: the text tower pads the texts of a batch to one length."""
    loaded = Tokenizer.from_str(tokenizer)
    loaded.no_padding()
    loaded.no_truncation()
    return loaded.to_str()
