"""Join model files into one that concatenates their vectors. Needs no torch.

Two networks that were trained differently are wrong about different images, so a head on the vectors of both finds
better than a head on those of either.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import compose, helper, numpy_helper

from cbir.errors import UsageError
from cbir.images.decode import decode
from cbir.models.embedder import Embedder
from cbir.records import Vector

from ..graph import IR_VERSION
from .model_file import graph_vectors, write_with_record
from .parity import Link, Record, compare_vectors, require, sample_images

JOINED = " + "
"""Between the names in the card of a joined file."""

_INPUT, _OUTPUT = "images", "embeddings"
_BATCH = 8


def join_files(sources: Sequence[Path], target: Path) -> Record:
    """Write one file that embeds as all of the sources do, and return the parity record written next to it.

    Its vectors are those of the sources one after the other, divided by the root of their number, so that a score is
    the mean of the sources' scores. The input rule is that of the first source.

    Raises:
        UsageError: There are fewer than two different sources, their input sizes or precisions differ, or one of them
            was trained on somebody's classes: a head on the joined file could then be tested on its training images.
    """
    embedders = [Embedder(source, device="cpu") for source in sources]
    cards = [embedder.card for embedder in embedders]
    if len({embedder.sha256 for embedder in embedders}) < max(2, len(embedders)):
        raise UsageError("Name at least two model files, each only once")
    for source, card in zip(sources, cards, strict=True):
        if card.training is not None:
            raise UsageError(
                f"{source} was trained on {card.training.data}. Join models as they were published, then train a head"
                " on the joined file"
            )
    for what, found in (
        ("input sizes", [card.input.size for card in cards]),
        ("precisions", [card.precision for card in cards]),
    ):
        if len(set(found)) > 1:
            raise UsageError(
                f"The {what} of the files differ: {', '.join(map(str, found))}. Build them alike (--size, --precision)"
            )
    model = _joined([onnx.load(source) for source in sources], [card.dimension for card in cards])
    card = replace(
        cards[0],
        name=target.stem,
        backbone=JOINED.join(card.backbone or card.name for card in cards),
        dimension=sum(card.dimension for card in cards),
        weights=JOINED.join(card.weights for card in cards),
        weights_sha256=JOINED.join(card.weights_sha256 for card in cards),
        random_weights=any(card.random_weights for card in cards),
        license=JOINED.join(dict.fromkeys(card.license for card in cards)),
        to_torch=None,
    )
    images = sample_images()
    agreement = compare_vectors(
        _expected(embedders, images.files), graph_vectors(model, card, images.files), images.labels
    )
    require(agreement, "fp32", "Please report this", "the joined files")
    return write_with_record(model, card, target, [Link("the joined files", "onnx", agreement)], images)


def _expected(embedders: Sequence[Embedder], files: Sequence[bytes]) -> Vector:
    """Return the vectors (N, D) of each model after the other, for pixels by the first one's rule."""
    pixels = np.stack([embedders[0].pixels(decode(data)) for data in files])
    batches = [pixels[start : start + _BATCH] for start in range(0, len(pixels), _BATCH)]
    each = [np.concatenate([embedder.run(batch) for batch in batches]) for embedder in embedders]
    vectors: Vector = np.concatenate(each, axis=1)
    return vectors / np.float32(np.sqrt(len(embedders)))


def _joined(models: Sequence[onnx.ModelProto], dimensions: Sequence[int]) -> onnx.ModelProto:
    """Return one model of several, with one input, and one output of so many numbers each."""
    first = models[0].graph
    parts = [compose.add_prefix(model, f"{number}.") for number, model in enumerate(models)]
    graph = helper.make_graph([], "joined", [first.input[0]], [first.output[0]])
    opsets: dict[str, int] = {}
    for number, part in enumerate(parts):
        for node in part.graph.node:
            for i, name in enumerate(node.input):
                if name == f"{number}.{_INPUT}":
                    node.input[i] = _INPUT
        graph.node.extend(part.graph.node)
        graph.initializer.extend(part.graph.initializer)
        graph.value_info.extend(part.graph.value_info)
        for opset in part.opset_import:
            if opsets.setdefault(opset.domain, opset.version) != opset.version:
                raise UsageError("The files were made by different releases of cbir. Build them again")
    graph.initializer.append(numpy_helper.from_array(np.float32(len(models) ** -0.5), "scale"))
    outputs = [f"{number}.{_OUTPUT}" for number in range(len(models))]
    graph.node.append(helper.make_node("Concat", outputs, ["vectors"], name="vectors", axis=1))
    graph.node.append(helper.make_node("Mul", ["vectors", "scale"], [_OUTPUT], name=_OUTPUT))
    graph.output[0].type.tensor_type.shape.dim[1].dim_value = sum(dimensions)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid(*item) for item in opsets.items()])
    made.ir_version = IR_VERSION
    return made
