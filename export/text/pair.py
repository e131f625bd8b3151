"""Text towers of models whose images and texts share one space: CLIP, SigLIP and MobileCLIP.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", 2021. Zhai et al., "Sigmoid
Loss for Language Image Pre-Training", 2023. Vasu et al., "MobileCLIP", 2024.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch.nn.functional import normalize

import cbir
from cbir.errors import CbirError, UsageError
from cbir.models.card import Precision, TextCard
from cbir.models.cleaning import Cleaning

from ..weights import RANDOM_SEED, Weights, explain_mismatch, fetch_from_hub, text_side
from ..zoo import Backbone, TextSide
from .pair_tokenizer import clip_tokenizer, siglip_tokenizer, vocabulary_size
from .tower_file import TextRecord, write_tower

_TEMPLATE = "a photo of a {}"
_SCALE = 100.0
_CLEANING: dict[str, Cleaning] = {"lower": "clip", "canonicalize": "siglip"}
_NO_IMAGES = {"layers": 1, "width": 64, "patch_size": 224, "image_size": 224}


class TextModule(torch.nn.Module):  # type: ignore[misc]
    """From tokens (N, L) to unit vectors (N, D), for each L up to the context of open_clip's tower."""

    def __init__(self, tower: Any):
        super().__init__()
        self.tower = tower
        self.causal = tower.attn_mask is not None
        later = torch.ones(tower.context_length, tower.context_length, dtype=torch.bool).triu(1)
        self.register_buffer("later", later, persistent=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return float32 (N, D) unit vectors."""
        tower, length = self.tower, tokens.shape[1]
        mask = None
        if self.causal:
            mask = torch.zeros(length, length).masked_fill(self.later[:length, :length], float("-inf"))
        hidden = tower.token_embedding(tokens) + tower.positional_embedding[:length]
        hidden = tower.ln_final(tower.transformer(hidden, attn_mask=mask))
        ends = tokens.argmax(dim=1)  # the end token has the largest number
        rows = torch.arange(tokens.shape[0])
        pooled = hidden[:, -1] if tower.pool_type == "last" else hidden[rows, ends]
        projection = tower.text_projection
        vectors = projection(pooled) if isinstance(projection, torch.nn.Linear) else pooled @ projection
        return normalize(vectors)


@dataclass(frozen=True)
class PairText:
    """The text tower of a backbone in torch, its tokenizer as JSON, and what its card says of them."""

    module: TextModule
    tokenizer: str
    backbone: Backbone
    weights: Weights
    padding: int
    cleaning: Cleaning
    scale: float


def load_text(backbone: Backbone, weights: Weights, tokenizer: Path | None = None) -> PairText | None:
    """Return a backbone's text tower with the weights of both towers, or None if they have no text side.

    `tokenizer` is a `tokenizer.json` in place of the hub's.

    Raises:
        UsageError: The weights or the tokenizer do not fit, or the backbone needs no such file.
        CbirError: The tokenizer cannot be fetched from the hub.
    """
    side = backbone.text
    if tokenizer is not None and (side is None or side.tokenizer != "hub"):
        raise UsageError(f"--tokenizer has no effect on {backbone.name}. Remove it")
    state = text_side(weights.state) if weights.state is not None else None
    if side is None or (weights.state is not None and state is None):
        return None
    config = open_clip.get_model_config(side.model)
    torch.manual_seed(RANDOM_SEED)
    tower = _tower(config)
    scale = _SCALE
    if state is not None and weights.state is not None:
        with explain_mismatch(weights, f"the text tower of {backbone.name}"):
            tower.load_state_dict(state)
        if "logit_scale" in weights.state:
            scale = round(float(weights.state["logit_scale"].float().exp()), 3)
    cleaning = _CLEANING[config["text_cfg"].get("tokenizer_kwargs", {}).get("clean", "lower")]
    found = _tokenizer(side, tower, tokenizer)
    size = vocabulary_size(found)
    if size > tower.vocab_size:
        raise UsageError(
            f"The tokenizer {tokenizer or side.repository} does not belong to {backbone.name}: it has {size:,} tokens,"
            f" and the model knows {tower.vocab_size:,}"
        )
    module = TextModule(tower).eval().requires_grad_(False)
    return PairText(module, found, backbone, weights, side.padding, cleaning, scale)


def write_text(text: PairText, images: str, path: Path, precision: Precision) -> TextRecord:
    """Write a text tower for the image model with the checksum `images`, and return the record written next to it.

    Raise `CbirError`, and write nothing, if the file differs too much from torch.
    """
    tower = text.module.tower
    card = TextCard(
        name=path.stem,
        dimension=tower.output_dim,
        images=(images,),
        length=tower.context_length,
        vocabulary=tower.vocab_size,
        padding=text.padding,
        weights=text.weights.origin,
        weights_sha256=text.weights.sha256,
        random_weights=text.weights.random,
        license=text.backbone.license,
        precision=precision,
        exporter={"cbir": cbir.__version__, "torch": torch.__version__, "open_clip": open_clip.__version__},
        template=_TEMPLATE,
        scale=text.scale,
        cleaning=text.cleaning,
    )
    return write_tower(text.module, text.tokenizer, card, path)


def _tower(config: dict[str, Any]) -> Any:
    """Return open_clip's text tower with random weights. It comes with an image tower, here a tiny one."""
    pair = open_clip.CustomTextCLIP(
        config["embed_dim"], _NO_IMAGES, config["text_cfg"], quick_gelu=config.get("quick_gelu", False)
    )
    return pair.text


def _tokenizer(side: TextSide, tower: Any, path: Path | None) -> str:
    """Return the tokenizer as JSON. Where texts see all tokens, they were trained with padding to the full length."""
    if side.tokenizer == "clip":
        return clip_tokenizer(tower.context_length, None if tower.attn_mask is not None else side.padding)
    if path is None:
        try:
            path, _ = fetch_from_hub(side.repository, "tokenizer.json")
        except CbirError as error:
            raise CbirError(f"{error}. For the text tower, name a downloaded tokenizer.json with --tokenizer") from None
    elif not path.is_file():
        raise UsageError(f"--tokenizer {path}: file not found")
    return siglip_tokenizer(path, tower.context_length, side.padding)
