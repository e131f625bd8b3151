"""The text tower: a sealed model file that turns texts into vectors of an image model.

Its graph takes token ids, int64 (N, L), and returns unit vectors, float32 (N, D). Its metadata holds a `TextCard` under
`cbir.text`, and its tokenizer under `cbir.tokenizer`, in the format of the library tokenizers. The checksum of the file
covers both, so neither can be exchanged.
"""

import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cbir.errors import CbirError, UsageError
from cbir.models.card import TEXT_CARD, TextCard
from cbir.models.cleaning import clean
from cbir.models.runtime import cores, open_session
from cbir.models.sealed import (
    PACKAGED,
    TEXT_CARD_FIELD,
    TEXT_MODEL,
    TEXT_SUFFIX,
    checksum_of,
    metadata,
    read_sealed,
)
from cbir.models.trial import require_safe
from cbir.records import Vector
from cbir.settings import default_cache
from cbir.text import one_line

TOKENIZER_FIELD = "cbir.tokenizer"
MAX_CHARACTERS = 2000
"""The longest text. Most towers read fewer than 100 words of it."""

_BATCH = 16
_NO_TOWER = (
    "{model} has no text tower, so it cannot be searched by text. Use a model that has one, such as efficientnet_lite0"
    " or what `cbir-export build clip_vit_b32` writes, or let `cbir-export text-head` learn one from captions."
)


class TextTower:
    """A loaded text tower. Several threads may call it at once."""

    def __init__(self, path: Path, threads: int | None = None, cache: Path | None = None):
        """Load a text tower; `threads` and `cache` are as for `Embedder`.

        Raises:
            UsageError: The file is not a text tower, does not pass the trial run, or has another model's tokenizer.
            CbirError: The file is damaged.
        """
        self.path = path
        data = read_sealed(path)
        self.sha256 = checksum_of(data)
        self.card = _card(path, data)
        require_safe(path, data, self.sha256, cache or default_cache())
        self._tokenizer = _tokenizer(path, data, self.card)
        try:
            self._session = open_session(data, "cpu", threads or cores())
        except Exception as error:  # onnxruntime's errors share no base class
            raise UsageError(f"{path} is not a model that onnxruntime can load: {one_line(error)[:300]}") from None
        inputs = [(given.name, given.type) for given in self._session.get_inputs()]
        if inputs != [("tokens", "tensor(int64)")]:
            raise UsageError(f"{path} takes {inputs}; a text tower takes only tokens of int64")
        outputs = [output.shape[1:] for output in self._session.get_outputs()]
        if outputs != [[self.card.dimension]]:
            raise UsageError(f"{path} returns {outputs}; its card says one vector of {self.card.dimension} dimensions")

    def embed(self, texts: Iterable[str]) -> Vector:
        """Return the unit vectors, float32 (n, D), of texts. A text with too many tokens is cut.

        Raises:
            UsageError: A text is empty or longer than 2,000 characters, or is no text.
        """
        tokens = [self.tokens(text) for text in texts]
        batches = [np.empty((0, self.card.dimension), np.float32)]
        for start in range(0, len(tokens), _BATCH):
            batches.append(self.run(self._padded(tokens[start : start + _BATCH])))
        return np.concatenate(batches)

    def tokens(self, text: str) -> list[int]:
        """Return the tokens of a text, cut to the length of the card. Raise what `embed` raises."""
        ids: list[int] = self._tokenizer.encode(clean(_checked(text), self.card.cleaning)).ids
        return ids

    def run(self, tokens: npt.NDArray[np.int64]) -> Vector:
        """Return the unit vectors, float32 (N, D), of tokens (N, L)."""
        return self._session.run(None, {"tokens": tokens})[0]  # type: ignore[no-any-return]

    def _padded(self, rows: list[list[int]]) -> npt.NDArray[np.int64]:
        padded = np.full((len(rows), max(map(len, rows))), self.card.padding, np.int64)
        for row, ids in zip(padded, rows, strict=True):
            row[: len(ids)] = ids
        return padded


def find_text_tower(model: Path, name: str, sha256: str, chosen: Path | None = None) -> Path:
    """Return the text tower of the image model in a file with this name and checksum.

    It is the `chosen` file, or one next to the model's file, or a packaged one.

    Raises:
        UsageError: There is none, or the chosen one belongs to another model.
    """
    if chosen is not None:
        if belongs_to(chosen, sha256):
            return chosen
        raise UsageError(f"the text tower {chosen} does not belong to the model {name}, but to another one")
    found = next((path for path in _nearby(model) if belongs_to(path, sha256)), None)
    if found is None:
        raise UsageError(_NO_TOWER.format(model=name))
    return found


def keep_text_tower(model: Path, folder: Path) -> None:
    """Copy the text tower next to a model file into a folder, as `text.onnx`. Packaged ones need no copy."""
    tower = own_text_tower(model) if model.parent != PACKAGED else None
    if tower is not None:
        shutil.copyfile(tower, folder / TEXT_MODEL)


def own_text_tower(model: Path) -> Path | None:
    """Return the text tower next to a model file that belongs to it, or None."""
    for path in _next_to(model):
        with suppress(CbirError):  # a file of that name may be anything
            if belongs_to(path, checksum_of(read_sealed(model))):
                return path
    return None


def belongs_to(path: Path, sha256: str) -> bool:
    """Return True if a text tower's vectors can be compared with those of the image model with this checksum."""
    return sha256 in _card(path, read_sealed(path)).images


def _nearby(model: Path) -> list[Path]:
    """Return the text towers next to a model file, and the packaged ones."""
    return [*_next_to(model), *sorted(PACKAGED.glob(f"*{TEXT_SUFFIX}.onnx"))]


def _next_to(model: Path) -> list[Path]:
    candidates = (model.with_name(f"{model.stem}{TEXT_SUFFIX}.onnx"), model.with_name(TEXT_MODEL))
    return [path for path in candidates if path.is_file()]


def _card(path: Path, data: bytes) -> TextCard:
    try:
        return TEXT_CARD.validate_json(metadata(data)[TEXT_CARD_FIELD])
    except (KeyError, ValueError):  # pydantic's error is a ValueError
        raise UsageError(f"{path} is not a text tower of cbir. Make one with cbir-export text-head or build.") from None


def _tokenizer(path: Path, data: bytes, card: TextCard) -> Any:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_str(metadata(data)[TOKENIZER_FIELD])
    except Exception as error:  # tokenizers raises a plain Exception
        raise UsageError(f"{path} has no tokenizer that can be read: {one_line(error)[:300]}") from None
    if tokenizer.get_vocab_size() > card.vocabulary:
        raise UsageError(
            f"{path}: its tokenizer does not belong to it: it has {tokenizer.get_vocab_size():,} tokens, and the model"
            f" knows {card.vocabulary:,}. Build the file again."
        )
    tokenizer.enable_truncation(card.length)
    return tokenizer


def _checked(text: str) -> str:
    if not isinstance(text, str):
        raise UsageError(f"{type(text).__name__} is not a text")
    if not text.strip():
        raise UsageError("the text is empty. Enter a word or a sentence.")
    if len(text) > MAX_CHARACTERS:
        raise UsageError(f"the text has {len(text):,} characters; the limit is {MAX_CHARACTERS:,}")
    return text.encode(errors="replace").decode()  # half a surrogate pair is no character
