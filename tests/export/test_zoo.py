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
        else:
            config = timm.models.get_pretrained_cfg(backbone.architecture)
            assert config.hf_hub_id == (backbone.published or f"timm/{backbone.architecture}"), name
