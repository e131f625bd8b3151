"""Model files and images that several tests of the exporter use. They need the extra `export`."""

from pathlib import Path

import pytest

from cbir.sources.base import SourceOptions
from cbir.sources.registry import open_source
from tests.support.exporting import export


@pytest.fixture(scope="session")
def fp32_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """EfficientNet-Lite0 in fp32."""
    path = tmp_path_factory.mktemp("fp32") / "lite0.onnx"
    export("build", "efficientnet_lite0", "--precision", "fp32", "-o", path)
    return path


@pytest.fixture(scope="session")
def int8_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """EfficientNet-Lite0 in int8."""
    path = tmp_path_factory.mktemp("int8") / "lite0.onnx"
    export("build", "efficientnet_lite0", "--precision", "int8", "-o", path)
    return path


@pytest.fixture(scope="session")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of SqueezeNet 1.1, with torchvision's names."""
    import torch
    import torchvision

    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "squeezenet.pth"
    torch.save(torchvision.models.squeezenet1_1().state_dict(), path)
    return path


@pytest.fixture(scope="session")
def three_classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images of the sample in three classes that look alike to a model for photos."""
    root = tmp_path_factory.mktemp("classes")
    items = list(open_source("sample://openmoji", SourceOptions()).items)
    for label in ("Food & Drink", "Animals & Nature", "Objects"):
        folder = root / label.split()[0]
        folder.mkdir()
        for item in [item for item in items if item.label == label][:60]:
            (folder / f"{item.key}.png").write_bytes(item.read())
    return root
