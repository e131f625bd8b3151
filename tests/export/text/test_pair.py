"""Pairs of towers: one state dict gives both, they share a space, and the text tower is that of open_clip."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cbir.errors import CbirError, UsageError
from cbir.models.embedder import Embedder
from cbir.models.graph import refusal
from cbir.models.sealed import checksum_of
from cbir.models.text_tower import TextTower, belongs_to
from tests.support.exporting import export

pytest.importorskip("open_clip", reason="the extra `export` is not installed")

import open_clip
import torch
from cbir.export import backbone as backbones
from cbir.export import weights as stored
from cbir.export import zoo
from cbir.export.text import pair
from cbir.export.text.sample_texts import sample_texts
from cbir.export.weights import MissingFileError, Weights
from safetensors.torch import save_file
from tokenizers import Tokenizer

pytestmark = [pytest.mark.export, pytest.mark.filterwarnings("ignore")]


def make_pair(name: str, seed: int = 3) -> Any:
    """Return a pair of open_clip with random weights, none of which is zero."""
    torch.manual_seed(seed)
    made = open_clip.create_model(name, pretrained=None).eval()
    for key, tensor in made.state_dict().items():
        if key.endswith(("bias", "running_mean")) and not key.startswith("logit"):
            tensor.normal_(0, 0.1)
        if key.endswith("gamma"):  # of layers that would hardly change anything
            tensor.uniform_(0.5, 1)
    return made


def save_pair(name: str, path: Path) -> Any:
    """Write the state dict of such a pair, and return the pair."""
    made = make_pair(name)
    torch.save(made.state_dict(), path)
    return made


def _loaded(name: str, made: Any) -> pair.PairText:
    text = pair.load_text(zoo.find_backbone(name), Weights("file:x.pt", "0" * 64, made.state_dict()))
    assert text is not None
    return text


@pytest.mark.parametrize("name", ["clip_vit_b32", "siglip_base", "mobileclip_b", "mobileclip2_s0"])
def test_images_are_in_the_space_of_open_clip(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    row = zoo.find_backbone(name)
    assert row.text is not None
    made = make_pair(row.text.model)
    monkeypatch.setattr(backbones, "find_weights", lambda *_: Weights("file:x.pt", "", made.state_dict()))
    loaded = backbones.load_backbone(row)
    planes = torch.nn.functional.interpolate(torch.randn(2, 3, 4, 4), loaded.rule.size)
    with torch.inference_mode():
        expected, found = made.encode_image(planes, normalize=True), loaded.module(planes)
    assert torch.cosine_similarity(found, expected).min() > 0.99999
    assert expected[0] @ expected[1] < 0.9999


@pytest.mark.parametrize("name", ["tiny_pair", "tiny_wide"])
def test_the_text_tower_is_that_of_open_clip(name: str, tiny_pairs: Path) -> None:
    made = make_pair(name)
    text = _loaded(name, made)
    tower = Tokenizer.from_str(text.tokenizer)
    for sample in ("a red cat", "cat " * 200):
        ids = torch.tensor([tower.encode(sample).ids])
        full = open_clip.tokenize([sample])
        assert full[0, : ids.shape[1]].tolist() == ids[0].tolist()
        with torch.inference_mode():
            expected = made.encode_text(full, normalize=True)
            assert torch.cosine_similarity(text.module(ids), expected).min() > 0.99999
    assert (ids.shape[1] == 77) and text.scale == pytest.approx(1 / 0.07, abs=1e-3)


def test_texts_that_see_all_tokens_are_padded_to_the_full_length(tiny_pairs: Path) -> None:
    lengths = {}
    for name in ("tiny_pair", "tiny_wide"):
        tower = Tokenizer.from_str(_loaded(name, make_pair(name)).tokenizer)
        lengths[name] = len(tower.encode("a red cat").ids)
    assert lengths == {"tiny_pair": 5, "tiny_wide": 77}


def test_both_towers_are_built_from_one_file(tiny_pairs: Path, tmp_path: Path, capsys: Any) -> None:
    made = save_pair("tiny_pair", tmp_path / "both.pt")
    path = tmp_path / "m.onnx"
    export("build", "tiny_pair", "--weights", tmp_path / "both.pt", "--precision", "fp32", "-o", path)
    images, texts = Embedder(path), TextTower(tmp_path / "m-text.onnx")
    assert "m-text.onnx: " in capsys.readouterr().out
    assert belongs_to(texts.path, images.sha256)
    assert images.text_tower.sha256 == texts.sha256
    card = texts.card
    assert (card.weights, card.weights_sha256) == (images.card.weights, images.card.weights_sha256)
    assert (card.random_weights, card.template, card.cleaning) == (False, "a photo of a {}", "clip")
    assert (card.length, card.vocabulary, card.dimension) == (77, 49408, 1000)
    assert refusal(texts.path.read_bytes()) is None
    samples = sample_texts(60)
    with torch.inference_mode():
        expected = made.encode_text(open_clip.tokenize(samples), normalize=True).numpy()
    assert (texts.embed(samples) * expected).sum(axis=1).min() > 0.9999
    assert np.allclose(texts.embed(samples[:1]), texts.embed(samples)[:1], atol=1e-5)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_random_weights_are_marked_and_repeatable(
    precision: str, tiny_pairs: Path, tmp_path: Path, capsys: Any
) -> None:
    checksums = []
    for name in ("a", "b"):
        options = ("--weights", "random", "--precision", precision, *(["--force"] if precision == "int8" else []))
        export("build", "tiny_wide", *options, "-o", tmp_path / f"{name}.onnx")
        tower = TextTower(tmp_path / f"{name}-text.onnx")
        assert (tower.card.random_weights, tower.card.weights, tower.card.scale) == (True, "random:0", 100.0)
        checksums.append(tower.embed(["a red cat"]))
    assert np.array_equal(*checksums)
    assert "random weights" in capsys.readouterr().err


def test_weights_of_images_alone_give_no_text_tower(tiny_pairs: Path, tmp_path: Path, capsys: Any) -> None:
    made = make_pair("tiny_pair")
    save_file(made.visual.trunk.state_dict(), tmp_path / "images.safetensors")
    export("build", "tiny_pair", "--weights", tmp_path / "images.safetensors", "-o", tmp_path / "m.onnx")
    errors = capsys.readouterr().err
    assert errors.count("warning: ") == 1
    assert "warning: file:images.safetensors has no weights of a text tower, so only the image model" in errors
    assert not (tmp_path / "m-text.onnx").exists()


def test_a_text_side_that_does_not_fit_writes_nothing(tiny_pairs: Path, tmp_path: Path) -> None:
    state = make_pair("tiny_pair").state_dict()
    del state["text.ln_final.weight"]
    torch.save(state, tmp_path / "cut.pt")
    with pytest.raises(
        UsageError, match=r"cut.pt does not fit the text tower of tiny_pair: 1 missing: ln_final.weight"
    ):
        export("build", "tiny_pair", "--weights", tmp_path / "cut.pt", "-o", tmp_path / "m.onnx")
    assert not list(tmp_path.glob("*.onnx"))


def test_the_tokenizer_of_siglip(tiny_pairs: Path, siglip_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    export("build", "tiny_siglip", "--weights", "random", "--tokenizer", siglip_file, "-o", path)
    tower = TextTower(tmp_path / "m-text.onnx")
    assert (tower.card.cleaning, tower.card.padding, tower.card.length) == ("siglip", 1, 64)
    assert tower.tokens("A red_cat!") == tower.tokens("a red cat")
    assert len(tower.tokens("cat")) == 64
    assert checksum_of(path.read_bytes()) in tower.card.images


def test_misuse_of_a_tokenizer_is_one_line(
    tiny_pairs: Path, siglip_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(repository: str, file: str) -> None:
        raise CbirError(f"Cannot fetch hf://{repository}/{file}")

    monkeypatch.setattr(pair, "fetch_from_hub", offline)
    large = Tokenizer.from_str(siglip_file.read_text())
    large.add_tokens([f"word{number}" for number in range(40)])
    large.save(str(tmp_path / "large.json"))
    for name, file, message in (
        (
            "tiny_siglip",
            tmp_path / "large.json",
            r"large.json does not belong to tiny_siglip: it has 75 tokens, .*knows 40",
        ),
        ("tiny_siglip", tmp_path / "nowhere.json", r"--tokenizer .*nowhere.json: file not found"),
        ("tiny_siglip", None, r"Cannot fetch hf://example/tiny/tokenizer.json.*--tokenizer"),
        ("tiny_pair", siglip_file, "--tokenizer has no effect on tiny_pair"),
        ("timm:test_vit.r160_in1k", siglip_file, "--tokenizer has no effect on timm:test_vit"),
    ):
        options = () if file is None else ("--tokenizer", file)
        with pytest.raises(CbirError, match=message) as caught:
            export("build", name, "--weights", "random", *options, "-o", tmp_path / "m.onnx")
        assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("*.onnx"))


def test_the_hub_has_both_towers_in_one_file(
    tiny_pairs: Path, siglip_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_pair("tiny_siglip", tmp_path / "open_clip_pytorch_model.bin")
    (tmp_path / "tokenizer.json").write_text(siglip_file.read_text())
    requested = []

    def fetch(repository: str, file: str) -> tuple[Path, str]:
        requested.append(f"{repository}/{file}")
        if not (tmp_path / file).exists():
            raise MissingFileError(file)
        return tmp_path / file, f"hub:{repository}/{file}"

    monkeypatch.setattr(stored, "fetch_from_hub", fetch)
    monkeypatch.setattr(pair, "fetch_from_hub", fetch)
    export("build", "tiny_siglip", "-o", tmp_path / "m.onnx")
    files = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin", "tokenizer.json")
    assert requested == [f"example/tiny/{file}" for file in files]
    tower = TextTower(tmp_path / "m-text.onnx")
    assert (
        tower.card.weights
        == "hub:example/tiny/open_clip_pytorch_model.bin"
        == Embedder(tmp_path / "m.onnx").card.weights
    )


def test_a_backbone_without_texts_has_no_text_tower(tiny_pairs: Path) -> None:
    row = replace(zoo.find_backbone("tiny_pair"), text=None)
    assert pair.load_text(row, Weights("random:0", "", None, random=True)) is None
