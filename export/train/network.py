"""What is trained: a backbone, a head, and one proxy per class; their moving average; and which device they are on."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Self

import torch
from safetensors.torch import save
from torch.nn.functional import normalize

from cbir.errors import UsageError
from cbir.index.files import write_atomically

from ..backbone import Loaded
from ..convert.head_graph import Head
from ..convert.to_onnx import Embedding
from ..weights import Weights, sha256_of

_BLOCK = re.compile(r"(?:blocks|stages|layers|features|resblocks)\.\d+|(?:layer|stage)s?_?\d+")
_EPSILON = 1e-3
"""Of the norm in front of the head: features that are always 0 must not become large by rounding."""


class Network(torch.nn.Module):  # type: ignore[misc]
    """Backbone, L2 norm, batch norm, linear head, L2 norm.

    With `blocks`, only the last blocks of the backbone are trained and its batch norms keep their values.
    """

    def __init__(self, loaded: Loaded, dimension: int, classes: int, blocks: int | None = None):
        super().__init__()
        self.embedding = Embedding(loaded)
        self.norm = torch.nn.BatchNorm1d(loaded.dimension, eps=_EPSILON, affine=False)
        self.head = torch.nn.Linear(loaded.dimension, dimension)
        self.proxies = torch.nn.Parameter(torch.randn(classes, dimension))
        self._frozen_norms = blocks is not None
        if blocks is None:
            loaded.module.requires_grad_(True)
        else:
            last_blocks(loaded.module, blocks)

    def train(self, mode: bool = True) -> Self:
        """Switch between training and evaluation."""
        super().train(mode)
        if self._frozen_norms:
            self.embedding.eval()
        return self

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        """Return float32 unit vectors (N, D) for planes (N, 3, H, W) from 0 to 255."""
        features = self.embedding.features(planes).float()
        return normalize(self.head(self.norm(features * features.shape[1] ** 0.5)).float())

    def folded_head(self) -> Head:
        """Return the batch norm and the linear layer as the one layer of a `Head`."""
        scale = self.head.in_features**0.5 * (self.norm.running_var + _EPSILON).rsqrt()
        weight = self.head.weight * scale
        bias = self.head.bias - self.head.weight @ (self.norm.running_mean * (self.norm.running_var + _EPSILON).rsqrt())
        return Head([(weight.detach().cpu().numpy().T.copy(), bias.detach().cpu().numpy().copy())])


def update_average(average: torch.nn.Module, network: torch.nn.Module, decay: float, step: int) -> None:
    """Move an average of a network's tensors, batch norms included, towards the network after `step` steps.

    In the first steps the decay is lower, (1 + step) / (10 + step), so that the random start is soon forgotten.
    """
    share = 1 - min(decay, (1 + step) / (10 + step))
    with torch.no_grad():
        for mean, tensor in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(tensor, share)
            else:
                mean.copy_(tensor)


def find_device(name: str | None) -> torch.device:
    """Return a device by torch's name for it, by default CUDA's if there is one; `UsageError` if it is missing."""
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.zeros(1, device=device)
    except Exception as error:  # each backend raises its own error for a missing device
        raise UsageError(f"--device {name}: {str(error).splitlines()[0]}") from None
    return device


def has_layer_norms(module: torch.nn.Module) -> bool:
    """Return True for transformers, ConvNeXt and the like."""
    return any(isinstance(part, torch.nn.LayerNorm) for part in module.modules())


def last_blocks(module: torch.nn.Module, count: int) -> list[torch.nn.Parameter]:
    """Make only the last `count` blocks trainable, and return their parameters.

    The names of a block's parameters begin with its number (`blocks.6`, `layers.3`, `layer4`). Layers after the last
    block count as part of it.
    """
    parameters = dict(module.named_parameters())
    matches = map(_BLOCK.match, parameters)
    blocks = list(dict.fromkeys(match.group() for match in matches if match))
    if count > len(blocks):
        raise UsageError(f"--blocks {count}: the backbone has only {len(blocks)} blocks: {', '.join(blocks)}")
    names = list(parameters)
    first = next(i for i, name in enumerate(names) if name.startswith(f"{blocks[-count]}."))
    module.requires_grad_(False)
    chosen = [parameters[name] for name in names[first:]]
    for parameter in chosen:
        parameter.requires_grad_(True)
    return chosen


def save_weights(loaded: Loaded, path: Path) -> Loaded:
    """Write the backbone's tensors as `.safetensors`, and return the backbone as loaded from that file."""
    state = {name: tensor.contiguous() for name, tensor in loaded.module.state_dict().items()}
    write_atomically(path, save(state))
    return replace(loaded, weights=Weights(f"file:{path.name}", sha256_of(path), state))
