"""Convert a backbone to one ONNX graph from uint8 pixels to unit vectors."""

import onnx
import timm
import torch

import cbir
from cbir.images.decode import PREPROCESSING_VERSION
from cbir.models.card import ModelCard, Precision

from ..backbone import Loaded
from ..graph import export_graph


class Embedding(torch.nn.Module):  # type: ignore[misc]
    """The whole model: cast, normalisation, layout, backbone and L2 norm."""

    def __init__(self, loaded: Loaded):
        super().__init__()
        self.backbone = loaded.module
        for name in ("mean", "std"):
            self.register_buffer(name, 255 * torch.tensor(loaded.config[name], dtype=torch.float32).view(1, 3, 1, 1))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return float32 (N, D) unit vectors for uint8 (N, H, W, 3) pixels."""
        return self.features(pixels.permute(0, 3, 1, 2))

    def features(self, planes: torch.Tensor) -> torch.Tensor:
        """Return float32 (N, D) unit vectors for uint8 (N, 3, H, W) planes."""
        vectors: torch.Tensor = self.backbone((planes.to(torch.float32) - self.mean) / self.std)
        return vectors / vectors.norm(dim=1, keepdim=True).clamp_min(1e-12)


def export(loaded: Loaded) -> onnx.ModelProto:
    """Return the backbone's graph in fp32, simplified, with a dynamic batch."""
    side = loaded.rule.size
    pixels = torch.zeros((2, side, side, 3), dtype=torch.uint8)
    return export_graph(Embedding(loaded), pixels, {0: torch.export.Dim("batch")}, "images", loaded.backbone.name)


def card_for(loaded: Loaded, name: str, precision: Precision) -> ModelCard:
    """Return the model card of an export."""
    return ModelCard(
        name=name,
        backbone=loaded.backbone.name,
        dimension=loaded.dimension,
        input=loaded.rule,
        mean=tuple(loaded.config["mean"]),
        std=tuple(loaded.config["std"]),
        weights=loaded.weights.origin,
        weights_sha256=loaded.weights.sha256,
        random_weights=loaded.weights.random,
        license=loaded.backbone.license,
        precision=precision,
        preprocessing=PREPROCESSING_VERSION,
        exporter={"cbir": cbir.__version__, "torch": torch.__version__, "timm": timm.__version__},
    )
