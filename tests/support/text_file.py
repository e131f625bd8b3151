"""Small text towers, written field by field: each word has a vector of its own, and a text is the sum of its words."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from cbir.bench.growth.onnx_writer import FLOAT, field, node, tensor

from cbir.models.card import TEXT_CARD, TextCard
from cbir.models.sealed import BLANK_CHECKSUM, CHECKSUM_FIELD, TEXT_CARD_FIELD, seal
from cbir.models.text_tower import TOKENIZER_FIELD
from cbir.records import Vector
from tests.support.building import unit_vectors
from tests.support.onnx_file import DIMENSION

WORDS = ("[PAD]", "[UNK]", "red", "blue", "heart", "train")
LENGTH = 5
_INT64 = 7


def text_card(images: tuple[str, ...], dimension: int = DIMENSION, vocabulary: int = len(WORDS)) -> TextCard:
    """Return the card of a made-up tower for the image models with these checksums."""
    return TextCard(
        name="made-text",
        dimension=dimension,
        images=images,
        length=LENGTH,
        vocabulary=vocabulary,
        padding=0,
        weights="random:1",
        weights_sha256="",
        random_weights=True,
        license="",
        precision="fp32",
        exporter={},
        template="a {}",
        scale=10.0,
    )


def word_vectors(dimension: int = DIMENSION) -> Vector:
    """Return the vectors of the words, which are zero for the padding."""
    vectors = unit_vectors(len(WORDS), seed=5, dimension=dimension)
    vectors[0] = 0
    return vectors


def word_tokenizer(words: tuple[str, ...] = WORDS) -> str:
    """Return a tokenizer that splits at spaces, as JSON."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))  # noqa: S106
    tokenizer.pre_tokenizer = Whitespace()
    text: str = tokenizer.to_str()
    return text


def write_tower(
    path: Path,
    card: TextCard,
    tokenizer: str | None = None,
    graph_dimension: int | None = None,
    more_nodes: Sequence[bytes] = (),
    more_tensors: Sequence[bytes] = (),
    given: str = "tokens",
) -> Path:
    """Write and return a sealed text tower. Without a tokenizer it gets that of `WORDS`; "" leaves the field out.

    `graph_dimension` is that of its vectors if the card has another one, and `given` the name of its input.
    """
    dimension = graph_dimension or card.dimension
    off = field(5, field(1, "keepdims") + field(3, 0) + field(20, 2))
    nodes = [
        node("Gather", f"table {given}", "words"),
        node("ReduceSum", "words axis", "sum", off),
        node("LpNormalization", "sum", "embeddings"),
        *more_nodes,
    ]
    constants = [tensor("table", word_vectors(dimension)), tensor("axis", np.array([1], np.int64)), *more_tensors]
    graph = [field(1, made) for made in nodes] + [field(2, card.name)] + [field(5, constant) for constant in constants]
    graph += [field(11, _value(given, _INT64, ["batch", "length"]))]
    graph += [field(12, _value("embeddings", FLOAT, ["batch", dimension]))]
    model = field(1, 10) + field(7, b"".join(graph)) + field(8, field(1, "") + field(2, 18))
    fields = {TEXT_CARD_FIELD: TEXT_CARD.dump_json(card).decode(), CHECKSUM_FIELD: BLANK_CHECKSUM}
    if tokenizer != "":
        fields[TOKENIZER_FIELD] = word_tokenizer() if tokenizer is None else tokenizer
    for name, text in fields.items():
        model += field(14, field(1, name) + field(2, text))
    path.write_bytes(seal(model))
    return path


def _value(name: str, kind: int, shape: list[int | str]) -> bytes:
    dims = b"".join(field(1, field(1 if isinstance(size, int) else 2, size)) for size in shape)
    found: bytes = field(1, name) + field(2, field(1, field(1, kind) + field(2, dims)))
    return found
