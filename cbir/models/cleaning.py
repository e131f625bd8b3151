"""What happens to a text before its tokenizer: what CLIP and SigLIP did in training and no tokenizer file can say."""

import html
import string
from typing import Literal

Cleaning = Literal["none", "clip", "siglip"]

_NO_PUNCTUATION = str.maketrans("_", " ", string.punctuation.replace("_", ""))


def clean(text: str, cleaning: Cleaning) -> str:
    """Return a text as its tokenizer expects it.

    `clip` repairs wrong encodings, resolves HTML entities, and gives lower case with single spaces. `siglip` also
    removes ASCII punctuation. `none` changes nothing.
    """
    if cleaning == "none":
        return text
    import ftfy

    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    if cleaning == "siglip":
        text = text.translate(_NO_PUNCTUATION)
    return " ".join(text.lower().split())
