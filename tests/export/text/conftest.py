"""A made-up tokenizer in the form of SigLIP's, and a small pair of towers."""

import json
import string
from pathlib import Path
from typing import Any

import pytest

SIGLIP_WORDS = ("<pad>", "</s>", "<unk>", "▁", *string.ascii_lowercase, "▁a", "▁photo", "▁of", "▁red", "▁cat")

TINY_PAIR = {
    "embed_dim": 1000,  # the classes of timm's test_vit, so that random weights have it too
    "custom_text": True,
    "vision_cfg": {"timm_model_name": "test_vit", "timm_pool": "token", "timm_proj": None, "image_size": 160},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
"""A pair in the form of MobileCLIP-B."""

SIGLIP_TEXT = {
    "context_length": 64,
    "vocab_size": 40,
    "hf_tokenizer_name": "example/tiny",
    "tokenizer_kwargs": {"clean": "canonicalize"},
    "no_causal_mask": True,
    "proj_bias": True,
    "pool_type": "last",
    "width": 32,
    "heads": 2,
    "layers": 2,
}
"""The text side of a pair in the form of SigLIP."""


@pytest.fixture
def siglip_file(tmp_path: Path) -> Path:
    """A small tokenizer.json."""
    from tokenizers import Tokenizer
    from tokenizers.models import Unigram
    from tokenizers.pre_tokenizers import Metaspace
    from tokenizers.processors import TemplateProcessing

    words = [(word, -1.0 - index) for index, word in enumerate(SIGLIP_WORDS)]
    tokenizer = Tokenizer(Unigram(words, unk_id=2))
    tokenizer.pre_tokenizer = Metaspace()
    tokenizer.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    path = tmp_path / "siglip.json"
    tokenizer.save(str(path))
    return path


@pytest.fixture
def tiny_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make `tiny_pair`, `tiny_wide` (whose texts see all tokens) and `tiny_siglip` known to the exporter."""
    import open_clip
    from cbir.export import zoo

    folder = tmp_path / "configs"
    folder.mkdir()
    wide = TINY_PAIR | {"text_cfg": {**TINY_PAIR["text_cfg"], "no_causal_mask": True}}  # type: ignore[dict-item]
    siglip = TINY_PAIR | {"text_cfg": SIGLIP_TEXT}
    rows = dict(zoo.BACKBONES)
    for name, config in {"tiny_pair": TINY_PAIR, "tiny_wide": wide, "tiny_siglip": siglip}.items():
        (folder / f"{name}.json").write_text(json.dumps(config))
        side: Any = ("hub", 1) if name == "tiny_siglip" else ("clip", 0)
        text = zoo.TextSide(name, "none", "example/tiny", *side)
        rows[name] = zoo.Backbone(name, "test_vit.r160_in1k", "MIT", keep_head=True, text=text)
    open_clip.add_model_config(folder)
    monkeypatch.setattr(zoo, "BACKBONES", rows)
    return folder
