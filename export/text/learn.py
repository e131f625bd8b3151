"""Learn a text tower for an image model from captions, and write it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import transformers

import cbir
from cbir.errors import UsageError
from cbir.evaluation.captions import Captioned, is_held_out, ranks
from cbir.models.card import CaptionTraining, Precision, TextCard
from cbir.models.embedder import Embedder
from cbir.records import Vector

from .captions import number_texts
from .encoder import LENGTH, LICENSE, PADDING, Encoder, encode
from .projection import Projection, project, train_projection
from .tower_file import TextRecord, without_padding, write_tower

FEWEST = 50
"""The fewest images with captions that a tower is learned from."""

_MOST_VALIDATION, _VALIDATION_SHARE = 1000, 0.05
_RANKS = (1, 5, 10)


@dataclass(frozen=True)
class LearnOptions:
    """The options of `cbir-export text-head`. Without a `test`, all images are trained on for all epochs."""

    hidden: int = 1024
    epochs: int = 20
    seed: int = 42
    test: bool = True


@dataclass(frozen=True)
class LearnedTower:
    """What was learned: the epoch that was kept, the numbers of images, and the metrics of the test part."""

    record: TextRecord
    epoch: int
    images: int
    tested: int
    metrics: dict[str, float]


class _Tower(torch.nn.Module):  # type: ignore[misc]
    def __init__(self, encoder: torch.nn.Module, projection: Projection):
        super().__init__()
        self.encoder, self.projection = encoder, projection

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return float32 (N, D) unit vectors for tokens (N, L)."""
        found: torch.Tensor = self.projection(self.encoder(tokens))
        return found


def learn_tower(
    embedders: Sequence[Embedder],
    encoder: Encoder,
    caption: str,
    captioned: Captioned,
    path: Path,
    precision: Precision,
    options: LearnOptions,
    classes: Captioned | None = None,
) -> LearnedTower:
    """Write a text tower that belongs to all embedders, whose vectors must be about the same; those are the first's.

    For a test, 3/16 of the images are left out (see `is_held_out`). The names of `classes` are learned as well (see
    `cbir.export.text.classifier`).

    Raises:
        UsageError: There are too few images with captions.
        CbirError: The file differs too much from torch.
    """
    count = len(captioned.vectors)
    if count < FEWEST:
        raise UsageError(f"{captioned.name} has {count} images with captions. A text tower needs at least {FEWEST}")
    held_out = np.array([options.test and is_held_out(key, options.seed) for key in captioned.keys])
    order = np.random.default_rng(options.seed).permutation(count)
    test, learned = (captioned.of_rows(order[held_out[order] == part].tolist()) for part in (True, False))
    tested = len(test.vectors)
    validation = min(_MOST_VALIDATION, int(_VALIDATION_SHARE * len(learned.vectors))) if options.test else 0
    vectors, captions = learned.vectors, learned.captions
    if classes is not None:  # before the images, the last of which are for validation
        vectors = np.concatenate([vectors.mean(axis=0) + classes.vectors, vectors])
        captions = [*classes.captions, *captions]
    texts = number_texts(captions, options.seed)
    embedded = encode(encoder, texts.texts)
    trained = train_projection(vectors, texts, embedded, validation, options.hidden, options.epochs, options.seed)
    metrics = _metrics(trained.module, encoder, test) if tested else {}
    card = TextCard(
        name=path.stem,
        dimension=embedders[0].card.dimension,
        images=tuple(embedder.sha256 for embedder in embedders),
        length=LENGTH,
        vocabulary=encoder.module.bert.config.vocab_size,
        padding=PADDING,
        weights=encoder.origin,
        weights_sha256=encoder.sha256,
        random_weights=embedders[0].card.random_weights,
        license=LICENSE,
        precision=precision,
        exporter={"cbir": cbir.__version__, "torch": torch.__version__, "transformers": transformers.__version__},
        scale=round(trained.scale, 3),
        training=CaptionTraining(
            captioned.name, caption, count - tested, options.seed if options.test else None, metrics
        ),
    )
    module = _Tower(encoder.module, trained.module).eval()
    record = write_tower(module, without_padding(encoder.tokenizer), card, path)
    return LearnedTower(record, trained.epoch, count - tested, tested, metrics)


def _metrics(module: Projection, encoder: Encoder, test: Captioned) -> dict[str, float]:
    """Return recall@1, 5 and 10 of the test images: by the first caption, and of captions by the image."""
    texts: Vector = project(module, encode(encoder, [captions[0] for captions in test.captions]))
    own = np.arange(len(texts))
    pairs = (
        ("text_to_image", ranks(texts, test.vectors, own)),
        ("image_to_text", ranks(test.vectors, texts, own)),
    )
    return {f"{name}_recall_at_{k}": round(float((better < k).mean()), 4) for name, better in pairs for k in _RANKS}
