"""The network that is trained, and its parts."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra `export` is not installed")

from cbir.export.backbone import Loaded, load_backbone
from cbir.export.convert.head_graph import apply_head
from cbir.export.train.network import Network, find_device, has_layer_norms, last_blocks, update_average
from cbir.export.zoo import InputChoice, find_backbone

from cbir.errors import UsageError
from tests.support.trainings import RECIPE

pytestmark = [pytest.mark.export, pytest.mark.filterwarnings("ignore")]


def tiny(name: str = RECIPE.backbone, seed: int = 0) -> Loaded:
    return load_backbone(find_backbone(name), "random", InputChoice(None, 32), seed)


def planes(count: int = 8) -> "torch.Tensor":
    return 255 * torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_the_seed_decides_random_weights() -> None:
    first, again, other = (next(tiny(seed=seed).module.parameters()) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_folded_head_gives_the_vectors_of_the_network() -> None:
    network = Network(tiny(), 16, 3)
    for _ in range(5):
        network.train()(planes())  # moves the batch norms
    network.eval()
    with torch.inference_mode():
        features, vectors = network.embedding.features(planes()), network(planes())
    assert np.allclose(apply_head(network.folded_head(), features.numpy()), vectors.numpy(), atol=1e-5)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(8))


def test_only_the_last_blocks_are_trained_and_batch_norms_stay() -> None:
    loaded = tiny()
    network = Network(loaded, 16, 3, blocks=1)
    before = copy.deepcopy(loaded.module.state_dict())
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    network.train()(planes())[0, 0].backward()
    optimizer.step()
    moved = {name for name, tensor in loaded.module.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved
    assert {name.split(".")[0] for name in moved} == {"layer4"}
    assert not any("running" in name or "batches" in name for name in moved)
    with pytest.raises(UsageError, match="--blocks 99: the backbone has only 4 blocks: layer1, layer2"):
        last_blocks(loaded.module, 99)


def test_batch_norms_move_when_everything_is_trained() -> None:
    loaded = tiny()
    before = copy.deepcopy(loaded.module.state_dict())
    network = Network(loaded, 16, 3).train()
    network(planes())
    assert all(parameter.requires_grad for parameter in loaded.module.parameters())
    moved = {name for name, tensor in loaded.module.state_dict().items() if not torch.equal(tensor, before[name])}
    assert any("running_mean" in name for name in moved)


def test_an_average_follows_the_network_at_its_decay() -> None:
    network = torch.nn.BatchNorm1d(2)
    average = copy.deepcopy(network)
    with torch.no_grad():
        network.weight += 1
        network.num_batches_tracked += 5
    update_average(average, network, decay=0.9, step=10**6)
    assert torch.allclose(average.weight, torch.full((2,), 1.1))
    assert average.num_batches_tracked == 5
    update_average(average, network, decay=0.9, step=0)  # a tenth of the old
    assert torch.allclose(average.weight, torch.full((2,), 1.91))
    update_average(average, network, decay=0.0, step=0)
    assert torch.equal(average.weight, network.weight)


def test_layer_norms_are_found() -> None:
    assert not has_layer_norms(tiny().module)
    assert has_layer_norms(tiny("timm:test_convnext.r160_in1k").module)


def test_a_device_that_is_missing_is_one_line() -> None:
    assert find_device("cpu").type == "cpu"
    with pytest.raises(UsageError, match="--device warp: "):
        find_device("warp")


@pytest.mark.parametrize(("name", "size", "hint"), [("dinov2_small", 64, "56 or 70"), ("swin_tiny", 70, "68 or 72")])
def test_an_input_of_broken_patches_is_refused(name: str, size: int, hint: str) -> None:
    with pytest.raises(UsageError, match=f"does not accept an input of {size} pixels: .* Use {hint}"):
        load_backbone(find_backbone(name), "random", InputChoice(None, size))
