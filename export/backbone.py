"""A backbone in torch: architecture, weights, and the input rule of its library."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import timm
import torch
import torchvision
from timm.data import create_transform, resolve_model_data_config
from timm.layers.adaptive_avgmax_pool import FastAdaptiveAvgPool
from torch.utils.flop_counter import FlopCounterMode

from cbir import terminal
from cbir.errors import UsageError
from cbir.images.decode import decode
from cbir.images.preprocessing import CropMode, InputRule
from cbir.records import Vector

from .weights import RANDOM_SEED, State, Weights, explain_mismatch, find_weights, image_side, load_in_order
from .zoo import Backbone, InputChoice, Specs, TextSide

MAX_SIZE = 1024
_BATCH = 16

_CROPS: dict[str, CropMode] = {"center": "center", "border": "pad", "squash": "squash"}
_TIMM_CROPS = {ours: theirs for theirs, ours in _CROPS.items()}

_OPEN_CLIP_CROPS = {"shortest": "center", "longest": "border", "squash": "squash"}

_CLASSIFIERS = ("head.weight", "head.fc.weight", "fc.weight", "classifier.weight")

# torchvision's models: the name of the classifier and what replaces it.
_TAILS: dict[str, tuple[str, Callable[[], torch.nn.Module]]] = {
    "squeezenet1_1": ("classifier", lambda: torch.nn.AdaptiveAvgPool2d(1)),
    "shufflenet_v2_x1_0": ("fc", torch.nn.Identity),
}


@dataclass(frozen=True)
class Loaded:
    """A backbone in torch with its weights and without its classifier. `config` is its timm data configuration."""

    backbone: Backbone
    module: torch.nn.Module
    config: dict[str, Any]
    weights: Weights
    dimension: int

    @property
    def rule(self) -> InputRule:
        """How images are resized and cropped."""
        size, crop = int(self.config["input_size"][-1]), _CROPS[self.config["crop_mode"]]
        return InputRule(
            size=size,
            resize=int(size / self.config["crop_pct"]),
            interpolation=self.config["interpolation"],
            crop=crop,
            fill=tuple(round(255 * mean) for mean in self.config["mean"]) if crop == "pad" else None,
        )


def load_backbone(
    backbone: Backbone, weights: str | None = None, choice: InputChoice | None = None, seed: int = RANDOM_SEED
) -> Loaded:
    """Return a backbone with its weights (see `find_weights`), without its classifier. `seed` is of random weights."""
    found = find_weights(backbone, weights)
    torch.manual_seed(seed)
    choice = choice or InputChoice()
    choice = replace(choice, size=choice.size or backbone.size)
    if backbone.library == "torchvision":
        module, config = _torchvision_module(backbone, found), _torchvision_config(backbone)
    else:
        module = _timm_module(backbone, found, choice.size)
        config = resolve_model_data_config(module)
        if backbone.text is not None:
            config = _pair_config(backbone.text, config)
    if choice.size:
        _check_patches(module, backbone.name, choice.size)
    _use_mean_pooling(module)
    module.eval().requires_grad_(False)
    config = apply_choice(config, choice)
    return Loaded(backbone, module, config, found, _dimension(module, backbone.name, config["input_size"][-1]))


def torch_vectors(loaded: Loaded, files: Sequence[bytes]) -> Vector:
    """Return the (N, D) unit vectors from torch after timm's evaluation transform."""
    transform = create_transform(**loaded.config, is_training=False)
    batches = []
    with torch.inference_mode(), terminal.progress("torch", len(files)) as advance:
        for start in range(0, len(files), _BATCH):
            planes = torch.stack([transform(decode(data)) for data in files[start : start + _BATCH]])
            batches.append(torch.nn.functional.normalize(loaded.module(planes), dim=1).numpy())
            advance(len(planes))
    return np.concatenate(batches)


def measure_specs(loaded: Loaded) -> Specs:
    """Return the backbone's size, measured on the module."""
    size = loaded.rule.size
    with FlopCounterMode(display=False) as counter:
        loaded.module(torch.zeros(1, 3, size, size))
    parameters = sum(parameter.numel() for parameter in loaded.module.parameters()) / 1e6
    return Specs(loaded.dimension, size, round(parameters, 2), round(counter.get_total_flops() / 2e9, 3))


def _timm_module(backbone: Backbone, weights: Weights, size: int | None) -> torch.nn.Module:
    published = timm.models.get_pretrained_cfg(backbone.architecture)
    options: dict[str, Any] = {"exportable": True}
    if size and published and published.fixed_input_size:
        options["img_size"] = size
    if weights.state is None or weights.in_order:
        module = timm.create_model(backbone.architecture, pretrained=False, **options)
        if weights.in_order:
            load_in_order(module, weights)
    else:
        state = image_side(weights.state) if backbone.text is not None else weights.state
        overlay: dict[str, Any] = {"state_dict": state}
        classes = _count_classes(state, published)
        if classes != published.num_classes:  # the user's own classes; without the overlay timm would load leniently
            options["num_classes"] = overlay["num_classes"] = classes
        with explain_mismatch(weights, backbone.name):
            module = timm.create_model(
                backbone.architecture, pretrained=True, pretrained_cfg_overlay=overlay, **options
            )
    if not backbone.keep_head:
        module.reset_classifier(0)
    return module


def _count_classes(state: State, published: Any) -> int:
    """Return the number of classes of the classifier in a state dict, 0 without a classifier."""
    named = published.classifier
    name = named if isinstance(named, str) or not named else named[0]
    final = state.get(f"{name}.weight")
    if final is not None:
        return int(final.shape[0])
    projection = state.get("visual.proj")  # of open_clip's ViT, which timm converts
    if projection is not None:
        return int(projection.shape[1])
    renamed = any(key.startswith(_CLASSIFIERS) for key in state)  # another library's name, which timm converts
    return int(published.num_classes) if renamed else 0


def _torchvision_module(backbone: Backbone, weights: Weights) -> torch.nn.Module:
    tail, make = _TAILS[backbone.architecture]
    module: torch.nn.Module = torchvision.models.get_model(backbone.architecture, weights=None)
    setattr(module, tail, make())
    if weights.state is not None:
        state = {name: tensor for name, tensor in weights.state.items() if not name.startswith(f"{tail}.")}
        with explain_mismatch(weights, backbone.name):
            module.load_state_dict(state)
    return module


def _torchvision_config(backbone: Backbone) -> dict[str, Any]:
    """Return torchvision's evaluation transform as a timm data configuration."""
    published = torchvision.models.get_model_weights(backbone.architecture).DEFAULT.transforms()
    size = published.crop_size[0]
    return {
        "input_size": (3, size, size),
        "interpolation": published.interpolation.value,
        "mean": tuple(published.mean),
        "std": tuple(published.std),
        "crop_pct": size / published.resize_size[0],
        "crop_mode": "center",
    }


def _pair_config(side: TextSide, config: dict[str, Any]) -> dict[str, Any]:
    """Return the data configuration of open_clip's evaluation transform: a pair of towers was trained with that one."""
    from open_clip import get_pretrained_cfg  # slow to import, and few backbones need it

    published = get_pretrained_cfg(side.model, side.tag)
    if not published:  # nobody has published weights for it
        return config
    changed = {name: published[name] for name in ("mean", "std", "interpolation")}
    return {**config, **changed, "crop_mode": _OPEN_CLIP_CROPS[published["resize_mode"]], "crop_pct": 1.0}


def _check_patches(module: torch.nn.Module, name: str, size: int) -> None:
    """Raise `UsageError` if an input is not made of whole patches: timm would cut off or pad its edges silently."""
    patch = getattr(getattr(module, "patch_embed", None), "patch_size", None)
    side = int(patch[0] if isinstance(patch, Sequence) else patch or 1)
    if size % side:
        lower, upper = size // side * side, -(-size // side) * side
        raise UsageError(
            f"{name} does not accept an input of {size} pixels: it takes whole patches of {side}. Use {lower or upper}"
            f" or {upper if lower else 2 * upper}"
        )


def _use_mean_pooling(module: torch.nn.Module) -> None:
    """Replace adaptive pooling to one value by a mean, which exports to a simpler graph."""
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, torch.nn.AdaptiveAvgPool2d) and child.output_size in (1, (1, 1)):
                setattr(parent, name, FastAdaptiveAvgPool())


def apply_choice(config: dict[str, Any], choice: InputChoice) -> dict[str, Any]:
    """Return the data configuration with the user's size and crop; `pad` and `squash` keep the whole image."""
    changed = dict(config)
    if choice.size:
        changed["input_size"] = (3, choice.size, choice.size)
    if choice.crop:
        changed["crop_mode"] = _TIMM_CROPS[choice.crop]
        if choice.crop != "center":
            changed["crop_pct"] = 1.0
    return changed


def _dimension(module: torch.nn.Module, name: str, size: int) -> int:
    if size > MAX_SIZE:
        raise UsageError(f"An input of {size} pixels is too large. The limit is {MAX_SIZE}")
    try:
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            vectors = module(torch.zeros(1, 3, size, size))
    except Exception as error:  # each architecture raises its own error
        raise UsageError(f"{name} does not accept an input of {size} pixels: {error}") from None
    if vectors.ndim != 2:
        raise UsageError(f"{name} returns {tuple(vectors.shape)} for an image instead of a vector")
    return int(vectors.shape[1])
