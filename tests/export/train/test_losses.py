"""Each loss against its formula, written as loops, and on points that can be separated."""

import math
from collections.abc import Callable, Iterator

import pytest

torch = pytest.importorskip("torch", reason="the extra `export` is not installed")

from cbir.export.train import losses
from cbir.export.train.losses import LOSSES, MARGIN, SCALE, TEMPERATURE
from torch.nn.functional import normalize

pytestmark = pytest.mark.export

Batch = tuple["torch.Tensor", "torch.Tensor", "torch.Tensor"]


@pytest.fixture
def batch() -> Batch:
    torch.manual_seed(3)
    return normalize(torch.randn(12, 6)), torch.tensor([0, 1, 2, 0] * 3), normalize(torch.randn(4, 6))


def cosine(a: "torch.Tensor", b: "torch.Tensor") -> float:
    return float((a * b).sum())


def by_softmax(batch: Batch, scale: float, own: Callable[[float], float]) -> float:
    """Cross entropy of scaled cosines to the proxies, with that to the vector's own proxy changed by `own`."""
    found = []
    for vector, target in zip(*batch[:2], strict=True):
        cosines = [cosine(vector, proxy) for proxy in batch[2]]
        cosines[target] = own(cosines[target])
        found.append(-math.log(math.exp(scale * cosines[target]) / sum(math.exp(scale * value) for value in cosines)))
    return sum(found) / len(found)


def test_the_softmax_losses_are_cross_entropies_with_a_margin(batch: Batch) -> None:
    assert float(losses.softmax(*batch)) == pytest.approx(by_softmax(batch, 1 / TEMPERATURE, lambda x: x), rel=1e-4)
    assert float(losses.cosface(*batch)) == pytest.approx(by_softmax(batch, SCALE, lambda x: x - MARGIN), rel=1e-4)
    moved = by_softmax(batch, SCALE, lambda x: math.cos(math.acos(x) + MARGIN))
    assert float(losses.arcface(*batch)) == pytest.approx(moved, rel=1e-4)


def test_the_margin_of_arcface_makes_every_angle_worse() -> None:
    proxies, target = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([0])
    for degrees in range(0, 181, 5):
        vector = torch.tensor([[math.cos(math.radians(degrees)), math.sin(math.radians(degrees))]])
        assert float(losses.arcface(vector, target, proxies)) > math.log(2)  # of two equal cosines, without a margin


def test_supcon_is_the_mean_over_the_positives_of_each_vector(batch: Batch) -> None:
    vectors, targets, _ = batch
    found = []
    for i, target in enumerate(targets):
        others = [j for j in range(len(vectors)) if j != i]
        total = sum(math.exp(cosine(vectors[i], vectors[j]) / TEMPERATURE) for j in others)
        positives = [j for j in others if targets[j] == target]
        logs = [math.log(math.exp(cosine(vectors[i], vectors[j]) / TEMPERATURE) / total) for j in positives]
        found.append(-sum(logs) / len(positives))
    assert float(losses.supcon(*batch)) == pytest.approx(sum(found) / len(found), rel=1e-4)


def test_proxy_anchor_is_a_smooth_maximum_over_a_proxys_vectors(batch: Batch) -> None:
    vectors, targets, proxies = batch
    pull, push = [], []
    for number, proxy in enumerate(proxies):
        cosines = [
            (cosine(vector, proxy), int(target) == number) for vector, target in zip(vectors, targets, strict=True)
        ]
        own = [math.exp(-32 * (value - 0.1)) for value, mine in cosines if mine]
        pull += [math.log(1 + sum(own))] if own else []  # the fourth class has no vector
        push.append(math.log(1 + sum(math.exp(32 * (value + 0.1)) for value, mine in cosines if not mine)))
    expected = sum(pull) / len(pull) + sum(push) / len(push)
    assert len(pull) == 3
    assert float(losses.proxy_anchor(*batch)) == pytest.approx(expected, rel=1e-4)


def test_a_triplet_has_the_nearest_negative_beyond_its_positive(batch: Batch) -> None:
    vectors, targets, _ = batch

    def triplets() -> Iterator[float]:
        for i, j in ((i, j) for i in range(12) for j in range(12) if i != j and targets[i] == targets[j]):
            positive = 2 - 2 * cosine(vectors[i], vectors[j])
            negatives = [2 - 2 * cosine(vectors[i], vectors[k]) for k in range(12) if targets[k] != targets[i]]
            beyond = [value for value in negatives if value > positive]
            yield max(0.0, positive - (min(beyond) if beyond else max(negatives)) + MARGIN)

    found = list(triplets())
    assert float(losses.triplet(*batch)) == pytest.approx(sum(found) / len(found), rel=1e-4)


@pytest.mark.parametrize("name", LOSSES)
def test_each_loss_falls_until_the_classes_are_apart(name: str) -> None:
    torch.manual_seed(0)
    targets = torch.arange(24) % 3
    points = torch.nn.Parameter(torch.randn(24, 8))
    proxies = torch.nn.Parameter(torch.randn(3, 8))
    optimizer = torch.optim.Adam([points, proxies], lr=0.1)
    values = []
    for _ in range(300):
        loss = LOSSES[name].function(normalize(points), targets, normalize(proxies))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(float(loss.detach()))
    assert values[-1] < 0.6 * values[0]
    cosines = normalize(points.detach()) @ normalize(points.detach()).T
    same = targets[:, None] == targets
    assert cosines[same].mean() > cosines[~same].mean() + 0.7


@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_without_pairs_or_negatives_has_a_finite_loss_and_gradient(name: str) -> None:
    for targets in (torch.arange(4), torch.zeros(4, dtype=torch.int64)):
        points = torch.randn(4, 8, requires_grad=True)
        loss = LOSSES[name].function(normalize(points), targets, normalize(torch.randn(4, 8)))
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(points.grad).all()
