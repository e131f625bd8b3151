"""The rows of the zoo name weights that the libraries publish."""

import pytest
from cbir.export.zoo import BACKBONES, find_backbone

from cbir.errors import UsageError


def test_a_row_is_found_by_its_name() -> None:
    assert all(find_backbone(name) is backbone for name, backbone in BACKBONES.items())


def test_an_unknown_name_lists_the_backbones() -> None:
    with pytest.raises(UsageError, match="Unknown backbone: 'nothing'. Use one of resnet18, .*timm:NAME"):
        find_backbone("nothing")


@pytest.mark.export
@pytest.mark.filterwarnings("ignore")
def test_rows_name_the_weights_that_the_libraries_publish() -> None:

    timm = pytest.importorskip("timm", reason="the extra `export` is not installed")
    import torchvision

    for name, backbone in BACKBONES.items():
        if backbone.library == "torchvision":
            url = torchvision.models.get_model_weights(backbone.architecture).DEFAULT.url
            assert url.endswith(f"/{backbone.published}"), name
        elif backbone.text is None:
            config = timm.models.get_pretrained_cfg(backbone.architecture)
            assert config.hf_hub_id == (backbone.published or f"timm/{backbone.architecture}"), name
            assert config.hf_hub_id == backbone.hub_file[0], name


@pytest.mark.export
@pytest.mark.filterwarnings("ignore")
def test_pairs_name_the_weights_that_open_clip_publishes_and_take_the_same_pixels() -> None:
    open_clip = pytest.importorskip("open_clip", reason="the extra `export` is not installed")
    import timm

    for name, backbone in BACKBONES.items():
        if (text := backbone.text) is not None:
            published = open_clip.get_pretrained_cfg(text.model, text.tag)
            assert published["hf_hub"].rstrip("/") == text.repository == backbone.hub_file[0], name
            config = open_clip.get_model_config(text.model)
            assert backbone.specs is not None
            assert (config["embed_dim"], config["vision_cfg"]["image_size"]) == (
                backbone.specs.dimension,
                backbone.specs.size,
            ), name
            assert config.get("quick_gelu", False) == published.get("quick_gelu", False), name
            assert ("hf_tokenizer_name" in config["text_cfg"]) == (text.tokenizer == "hub"), name
            image_side = timm.models.get_pretrained_cfg(backbone.architecture)
            assert image_side is not None, name
            assert (image_side.mean, image_side.std) == (published["mean"], published["std"]), name
