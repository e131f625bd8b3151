"""How well a network finds: by torch and by onnxruntime."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra `export` is not installed")

from cbir.export.backbone import load_backbone
from cbir.export.convert.head_graph import add_head
from cbir.export.convert.to_onnx import export
from cbir.export.train.accuracy import embed_with_graph, embed_with_network, measure
from cbir.export.train.images import TrainingImages
from cbir.export.train.network import Network
from cbir.export.zoo import InputChoice, find_backbone

pytestmark = pytest.mark.export

SIDE = 36


@pytest.fixture
def images() -> TrainingImages:
    """Noisy images of two colours, in turns."""
    pixels = np.random.default_rng(0).integers(0, 60, (40, SIDE, SIDE, 3), np.uint8)
    pixels[::2, ..., 0] += 180
    return TrainingImages(pixels, ["red", "black"] * 20, "")


def test_torch_and_onnxruntime_embed_alike(images: TrainingImages) -> None:
    loaded = load_backbone(find_backbone("timm:resnet10t"), "random", InputChoice(size=32), 0)
    network = Network(loaded, 8, 2).eval()
    graph = export(loaded)
    add_head(graph, network.folded_head())
    pixels = images.pixels[:, 2:34, 2:34]
    with torch.inference_mode():
        expected = embed_with_network(network, torch.device("cpu"))(pixels)
    np.testing.assert_allclose(embed_with_graph(graph)(np.ascontiguousarray(pixels)), expected, atol=1e-4)


def test_the_accuracy_is_that_of_the_centre_of_each_image(images: TrainingImages) -> None:
    """The rows keep their order, and the hits are among the indexed ones only."""

    def embed(pixels: np.ndarray) -> np.ndarray:
        assert pixels.shape[1:] == (32, 32, 3)
        assert np.array_equal(pixels, images.pixels[:, 2:34, 2:34][np.isin(means, pixels.mean(axis=(1, 2, 3)))])
        angle = pixels[..., 0].mean(axis=(1, 2)) / 255
        return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)

    means = images.pixels[:, 2:34, 2:34].mean(axis=(1, 2, 3))
    rows = np.random.default_rng(1).permutation(40)
    found = measure(images, 32, embed, rows[:30], rows[30:])
    assert (found.queries, found.precision_at_k) == (10, 1)
    wrong = TrainingImages(images.pixels, [*["red", "black"] * 15, *["black", "red"] * 5], "")
    assert measure(wrong, 32, embed, np.arange(30), np.arange(30, 40)).hit_rate_at_k == 0
