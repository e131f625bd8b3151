"""How well a network finds images of a class.

Without a GPU, onnxruntime measures at the start and the end: there it is faster than torch, and it is what will embed
with the written file.
"""

from collections.abc import Callable

import numpy as np
import onnx
import torch

from cbir import terminal
from cbir.evaluation.retrieval import Accuracy, Rows, score
from cbir.models.runtime import open_session
from cbir.records import Vector

from .augment import centre
from .images import Pixels, TrainingImages

Embed = Callable[[Pixels], Vector]
"""From uint8 pixels (N, side, side, 3) to unit vectors (N, D)."""

_AT_ONCE = 128
"""Images that are embedded at a time."""


def embed_with_network(network: Callable[[torch.Tensor], torch.Tensor], device: torch.device) -> Embed:
    """Return what embeds with a network on a device, without bfloat16; it takes float planes (N, 3, side, side)."""

    def embed(pixels: Pixels) -> Vector:
        planes = torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).float()
        vectors: Vector = network(planes).cpu().numpy()
        return vectors

    return embed


def embed_with_graph(graph: onnx.ModelProto) -> Embed:
    """Return what embeds with an exported model, on as many threads as torch uses."""
    session = open_session(graph.SerializeToString(), "cpu", torch.get_num_threads())

    def embed(pixels: Pixels) -> Vector:
        vectors: Vector = session.run(None, {"images": pixels})[0]
        return vectors

    return embed


def measure(images: TrainingImages, size: int, embed: Embed, indexed: Rows, queries: Rows) -> Accuracy:
    """Return the accuracy of searching some images with others; `size` is the side of the model's input."""
    rows = np.concatenate([indexed, queries])
    order = np.argsort(rows)  # the file is read from its start to its end
    found: list[Vector] = []
    with torch.inference_mode(), terminal.progress("embedding", len(rows)) as advance:
        for start in range(0, len(rows), _AT_ONCE):
            pixels = images.pixels[rows[order[start : start + _AT_ONCE]]]
            found.append(embed(np.ascontiguousarray(centre(pixels, size))))
            advance(len(pixels))
    vectors = np.concatenate(found)[np.argsort(order)]
    numbers = np.arange(len(rows))
    labels = [images.labels[row] for row in rows]
    return score(vectors, labels, numbers[: len(indexed)], numbers[len(indexed) :])
