"""Tokens of CLIP and SigLIP are those of open_clip, for texts in all scripts."""

import json
import random
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cbir.errors import UsageError
from cbir.models.cleaning import clean

pytest.importorskip("open_clip", reason="the extra `export` is not installed")

from cbir.export.text.pair_tokenizer import clip_tokenizer, siglip_tokenizer, vocabulary_size
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer
from tokenizers import Tokenizer

from tests.export.text.conftest import SIGLIP_WORDS

pytestmark = [pytest.mark.export, pytest.mark.filterwarnings("ignore")]

LENGTH, START, END = 77, 49406, 49407
COUNT = 10_000
RANGES = (
    *((0x20, 0x7E), (0x00, 0x1F), (0x7F, 0x24F), (0x250, 0x36F), (0x370, 0x52F), (0x590, 0x6FF), (0x900, 0xFFF)),
    *((0x1100, 0x11FF), (0x1E00, 0x1FFF), (0x2000, 0x2BFF), (0x3000, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3)),
    *((0xE000, 0xE0FF), (0xFB00, 0xFEFF), (0xFF00, 0xFFEF), (0x10000, 0x10FFF), (0x1D400, 0x1D7FF)),
    *((0x1F300, 0x1FAFF), (0x20000, 0x2A6DF), (0xE0001, 0xE007F)),
)
WORDS = [
    "a",
    "photo",
    "of",
    "the",
    "red",
    "shoe",
    "don't",
    "I'll",
    "we've",
    "IT'S",
    "'S",
    "100",
    "3.14",
    "C++",
    "&amp;",
    "&lt;b&gt;",
    "&nbsp;",
    "&#233;",
    "&amp;amp;",
    "“x”",
    "\u2019s",
    "\u017f",
    "'\u017f",
    "ΟΔΟΣ",
    "İstanbul",
    "ﬁne",
    "naïve",
    "naïve",
    "👩\u200d🚀",
    "❤️\u200d🔥",
    "🇯🇵",
    "schÃ¶n",
    "æ—¥æœ¬",
    "½",
    "²",
    "<end_of_text>",
    "a<start_of_text>b",
    "ͅ",
    "eͅ",
]


def texts(count: int) -> Iterator[str]:
    """Yield texts: characters of many scripts, and words between them. A sixth have more than 77 tokens."""
    rng = random.Random(0)
    for number in range(count):
        size = rng.choice((0, 1, 2, 5, 20, 200))
        if number % 2:
            yield "".join(_character(rng) for _ in range(size))
        else:
            chunks = (rng.choice(WORDS) if rng.random() < 0.7 else _character(rng) for _ in range(size))
            yield "".join(rng.choice(" \n\t") + chunk for chunk in chunks)


def _character(rng: random.Random) -> str:
    while True:
        character = chr(rng.randint(*rng.choice(RANGES)))
        if unicodedata.category(character) != "Cn":  # libraries know Unicode in several versions
            return character


def _tokens(tokenizer: str, cleaning: Any) -> Any:
    loaded = Tokenizer.from_str(tokenizer)
    return lambda text: loaded.encode(clean(text, cleaning)).ids


def test_tokens_of_clip_are_those_of_open_clip() -> None:
    expected, found = SimpleTokenizer(), _tokens(clip_tokenizer(LENGTH, None), "clip")
    padded = _tokens(clip_tokenizer(LENGTH, 0), "clip")
    cut = 0
    for number, text in enumerate(texts(COUNT)):
        row = expected(text)[0].tolist()
        tokens = found(text)
        assert tokens + [0] * (LENGTH - len(tokens)) == row, text
        assert (tokens[0], tokens[-1]) == (START, END)
        if number < 200:
            assert padded(text) == row
        cut += len(tokens) == LENGTH
    assert cut > COUNT / 10


def test_every_character_of_these_scripts_is_split_as_in_open_clip() -> None:
    expected, found = SimpleTokenizer(), _tokens(clip_tokenizer(LENGTH, None), "clip")
    for number in (*range(0x3000), *range(0xA000, 0xAC00), *range(0xF900, 0x10000), *range(0x1F000, 0x1FB00)):
        if unicodedata.category(chr(number)) != "Cn":
            text = "a{0}a {0}! 1{0}1 '{0}".format(chr(number))
            assert found(text)[1:-1] == expected.encode(text), hex(number)


def test_the_name_of_a_special_token_after_punctuation_is_the_known_difference() -> None:
    expected, found = SimpleTokenizer(), _tokens(clip_tokenizer(LENGTH, None), "clip")
    assert found("a <end_of_text>")[1:-1] == expected.encode("a <end_of_text>")
    assert found("a -<end_of_text>")[1:-1] != expected.encode("a -<end_of_text>")


def test_the_vocabulary_of_clip_is_complete() -> None:
    assert vocabulary_size(clip_tokenizer(LENGTH, None)) == END + 1


@pytest.mark.parametrize("padding", [0, 1])
def test_tokens_of_siglip_are_those_of_open_clip(padding: int, siglip_file: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(siglip_file.read_text())
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": SIGLIP_WORDS[padding], "eos_token": "</s>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    expected = HFTokenizer(str(tmp_path), context_length=64, clean="canonicalize")
    found = _tokens(siglip_tokenizer(siglip_file, 64, padding), "siglip")
    for text in texts(500):
        assert found(text) == expected(text)[0].tolist(), text


def test_the_end_token_of_siglip_is_added_once_and_kept_when_a_text_is_cut(siglip_file: Path) -> None:
    plain = json.loads(siglip_file.read_text()) | {"post_processor": None}
    siglip_file.with_name("plain.json").write_text(json.dumps(plain))
    for file in (siglip_file, siglip_file.with_name("plain.json")):
        tokens = _tokens(siglip_tokenizer(file, 8, 0), "siglip")
        assert tokens("A cat!")[-5:] == [1, 0, 0, 0, 0]
        assert tokens("A cat!").count(1) == 1
        assert tokens("cat " * 20)[-1] == 1


@pytest.mark.parametrize("content", ["", "{}", '{"model": 3}', "\x00"])
def test_a_file_that_is_no_tokenizer_is_one_line(content: str, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=r"tokenizer.json is not a tokenizer.json that can be read") as caught:
        siglip_tokenizer(path, 64, 0)
    assert "\n" not in str(caught.value)
