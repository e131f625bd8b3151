"""The losses of `cbir-export train`, from unit vectors to a number. A new one is a function and a line in `LOSSES`.

Each takes the unit vectors (B, D) of a batch, their class numbers (B,) and one unit proxy per class (C, D), which is
learned with the network. Losses of pairs do not use the proxies.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch.nn.functional import cross_entropy, one_hot

TEMPERATURE = 0.1
"""Of `softmax` and `supcon`."""

SCALE = 16.0
"""Of the cosines in `arcface` and `cosface`. The papers' 64 is for thousands of classes."""

MARGIN = 0.2
"""Of `arcface` (an angle), `cosface` (a cosine) and `triplet` (a squared distance)."""

_ANCHOR_SCALE, _ANCHOR_MARGIN = 32.0, 0.1


def softmax(vectors: torch.Tensor, targets: torch.Tensor, proxies: torch.Tensor) -> torch.Tensor:
    """Return the normalised softmax: cross entropy of the cosines to the proxies, divided by a temperature.

    Zhai and Wu, "Classification is a Strong Baseline for Deep Metric Learning", 2019, equation 3.
    """
    return cross_entropy(vectors @ proxies.T / TEMPERATURE, targets)


def arcface(vectors: torch.Tensor, targets: torch.Tensor, proxies: torch.Tensor) -> torch.Tensor:
    """Return the softmax loss with a margin added to the angle between a vector and its class.

    Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", 2019, equation 3. Where the angle
    and the margin exceed 180 degrees, the cosine continues as a line, as in the authors' code.
    """
    cosines = (vectors @ proxies.T).clamp(-1 + 1e-6, 1 - 1e-6)
    margin = torch.tensor(MARGIN, device=vectors.device)
    moved = torch.where(
        cosines > -torch.cos(margin), torch.cos(torch.acos(cosines) + margin), cosines - margin * torch.sin(margin)
    )
    own = one_hot(targets, len(proxies)).bool()
    return cross_entropy(SCALE * torch.where(own, moved, cosines), targets)


def cosface(vectors: torch.Tensor, targets: torch.Tensor, proxies: torch.Tensor) -> torch.Tensor:
    """Return the softmax loss with a margin taken off the cosine between a vector and its class.

    Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition", 2018, equation 4.
    """
    return cross_entropy(SCALE * (vectors @ proxies.T - MARGIN * one_hot(targets, len(proxies))), targets)


def proxy_anchor(vectors: torch.Tensor, targets: torch.Tensor, proxies: torch.Tensor) -> torch.Tensor:
    """Return the loss of proxies as anchors: each pulls its own vectors and pushes the others, the hardest most.

    Kim et al., "Proxy Anchor Loss for Deep Metric Learning", 2020, equation 4.
    """
    cosines = (vectors @ proxies.T).T
    own = one_hot(targets, len(proxies)).bool().T
    pull = _log_one_plus_sum(-_ANCHOR_SCALE * (cosines - _ANCHOR_MARGIN), own)
    push = _log_one_plus_sum(_ANCHOR_SCALE * (cosines + _ANCHOR_MARGIN), ~own)
    return pull[own.any(dim=1)].mean() + push.mean()


def supcon(vectors: torch.Tensor, targets: torch.Tensor, proxies: torch.Tensor) -> torch.Tensor:
    """Return the supervised contrastive loss: each vector must find those of its class among all others of the batch.

    Khosla et al., "Supervised Contrastive Learning", 2020, equation 2, with one view of each image.
    """
    itself = torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    logits = (vectors @ vectors.T / TEMPERATURE).masked_fill(itself, -torch.inf)
    positives = (targets[:, None] == targets) & ~itself
    log_shares = (logits - logits.logsumexp(dim=1, keepdim=True)).masked_fill(~positives, 0)
    counts = positives.sum(dim=1)
    found = counts > 0
    return -(log_shares.sum(dim=1)[found] / counts[found]).sum() / found.sum().clamp_min(1)


def triplet(vectors: torch.Tensor, targets: torch.Tensor, proxies: torch.Tensor) -> torch.Tensor:
    """Return the mean triplet loss over all pairs of a class, each with its semi-hard negative.

    That is the nearest negative that is farther away than the positive, or the farthest of all if none is. Schroff et
    al., "FaceNet: A Unified Embedding for Face Recognition and Clustering", 2015, section 3.2, on squared distances.
    """
    distances = 2 - 2 * vectors @ vectors.T
    same = targets[:, None] == targets
    rows = torch.arange(len(vectors), device=vectors.device)
    ordered, order = distances.detach().masked_fill(same, torch.inf).sort(dim=1)
    negatives = (~same).sum(dim=1, keepdim=True)
    place = torch.searchsorted(ordered, distances.detach(), right=True).minimum(negatives - 1).clamp_min(0)
    negative = distances[rows[:, None], order.gather(1, place)]
    pairs = same & (rows[:, None] != rows) & (negatives > 0)
    losses = (distances - negative + MARGIN).clamp_min(0)
    return losses[pairs].sum() / pairs.sum().clamp_min(1)


def _log_one_plus_sum(exponents: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Return log(1 + sum of exp) over the chosen cells of each row, without overflow."""
    cells = exponents.masked_fill(~chosen, -torch.inf)
    return torch.cat([torch.zeros_like(cells[:, :1]), cells], dim=1).logsumexp(dim=1)


@dataclass(frozen=True)
class Loss:
    """A loss. With `pairs` it compares the vectors of a batch, so each batch needs several images of a class."""

    function: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
    pairs: bool = False


LOSSES: Mapping[str, Loss] = MappingProxyType(
    {
        "softmax": Loss(softmax),
        "arcface": Loss(arcface),
        "cosface": Loss(cosface),
        "proxy-anchor": Loss(proxy_anchor),
        "supcon": Loss(supcon, pairs=True),
        "triplet": Loss(triplet, pairs=True),
    }
)
