"""Tokenizers of the text towers of CLIP, SigLIP and MobileCLIP, as JSON of the library tokenizers.

With the texts that `cbir.models.cleaning.clean` returns they give the tokens of open_clip's tokenizers. The exception
is a text that has the name of a special token, such as `<end_of_text>`, right after punctuation.
"""

import gzip
from pathlib import Path

from open_clip.tokenizer import bytes_to_unicode, default_bpe
from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split
from tokenizers.processors import TemplateProcessing

from cbir.errors import UsageError
from cbir.text import one_line

_START, _END = "<start_of_text>", "<end_of_text>"
_VOCABULARY = 49_408
_WORD_END = "</w>"
_DROPPED = "\u0345"  # open_clip ignores the case, and so takes this mark neither for a letter nor for another character
_WORDS = rf"(?i:'s|'t|'re|'ve|'m|'ll|'d)|\p{{L}}+|\p{{N}}|[^\s\p{{N}}\p{{L}}{_DROPPED}]+"
_SIGLIP_END = 1


def clip_tokenizer(length: int, padding: int | None) -> str:
    """Return CLIP's tokenizer as JSON. With a token for `padding`, every text has `length` tokens."""
    symbols = list(bytes_to_unicode().values())
    merges_count = _VOCABULARY - 2 * len(symbols) - 2
    lines = gzip.decompress(Path(default_bpe()).read_bytes()).decode().split("\n")[1 : merges_count + 1]
    merges = [(first, second) for first, second in (line.split() for line in lines)]
    words = [*symbols, *(symbol + _WORD_END for symbol in symbols), *map("".join, merges), _START, _END]
    numbers = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(BPE(numbers, merges, end_of_word_suffix=_WORD_END, continuing_subword_prefix=""))
    bytes_of_words = ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = Sequence([Split(Regex(_WORDS), "removed", invert=True), bytes_of_words])
    tokenizer.add_special_tokens([AddedToken(word, normalized=False) for word in (_START, _END)])
    tokenizer.post_processor = TemplateProcessing(
        single=f"{_START} $A {_END}", special_tokens=[(word, numbers[word]) for word in (_START, _END)]
    )
    return _with_length(tokenizer, length, padding)


def siglip_tokenizer(path: Path, length: int, padding: int) -> str:
    """Return SigLIP's tokenizer in a file `tokenizer.json`, as JSON in which every text has `length` tokens.

    Raises:
        UsageError: The file is not a tokenizer.
    """
    try:
        tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
        end = str(tokenizer.id_to_token(_SIGLIP_END))
        tokenizer.post_processor = TemplateProcessing(single=f"$A {end}", special_tokens=[(end, _SIGLIP_END)])
    except Exception as error:  # tokenizers raises a plain Exception
        raise UsageError(f"{path} is not a tokenizer.json that can be read: {one_line(error)[:200]}") from None
    return _with_length(tokenizer, length, padding)


def vocabulary_size(tokenizer: str) -> int:
    """Return the number of tokens of a tokenizer as JSON."""
    return int(Tokenizer.from_str(tokenizer).get_vocab_size())


def _with_length(tokenizer: Tokenizer, length: int, padding: int | None) -> str:
    tokenizer.enable_truncation(length)
    if padding is None:
        tokenizer.no_padding()
    else:
        tokenizer.enable_padding(length=length, pad_id=padding, pad_token=tokenizer.id_to_token(padding))
    text: str = tokenizer.to_str()
    return text
