"""Texts for comparing a text tower with torch: 500 in several scripts, some longer than a tower reads."""

from itertools import islice, product

_COLOURS = ("red", "blue", "dark green", "black and white", "golden", "striped", "old", "tiny", "broken", "wooden")
_NOUNS = (
    "shoe", "train", "cat", "flag with stars", "cup of coffee", "mountain", "bicycle", "birthday cake", "violin",
    "lighthouse", "pair of glasses", "T-shirt", "wrist watch", "house", "dog on a beach", "tree", "map", "key",
    "smiling face", "chess piece",
)  # fmt: skip
_TEMPLATES = ("{}", "a photo of a {}", "A drawing of a {}, isolated on white.")
_SENTENCES = (
    "Ein rotes Herz auf weißem Grund", "Où est passé le chat noir ?", "El niño come una piña", "Três pássaros azuis",
    "Gözlüklü bir İstanbul kedisi", "Żółta łódź na jeziorze", "Ένα κόκκινο ποδήλατο", "Красный поезд на мосту",
    "Жовтий соняшник", "一只红色的猫", "赤い自転車に乗る人", "ひらがなとカタカナ", "빨간 자전거", "สุนัขสีดำ",
    "एक लाल गाड़ी", "সবুজ পাতা", "சிவப்பு பூ", "كلب أسود صغير", "سیب قرمز", "דגל כחול ולבן", "Վարդագույն ծաղիկ",
    "ლამაზი სახლი", "Con mèo màu đỏ đang ngủ", "😀", "🚂🚃🚃", "👩‍🚀 on the 🌙", "❤️‍🔥 fire heart", "flag 🇯🇵 of Japan",
    "a", "A", "!", "3.14159", "100 %", "C++ & C#", "e-mail: a.b@example.org", "tab\tand\nnewline", "  spaces  around  ",
    "naïve café", "nai\u0308ve cafe\u0301", "ﬁne ﬂoor", "x\u200by", "\u202eright to left", "ALL CAPITAL LETTERS",
    "under_score-and-dash/slash", "don't won't can't", "“quoted” text…", "½ of a ² square", "a" * 300,
)  # fmt: skip
_LONG = 300  # words, more than any tower reads


def sample_texts(count: int = 500) -> list[str]:
    """Return `count` texts: sentences in many scripts, very long ones, then made-up English captions."""
    words = " ".join(_COLOURS + _NOUNS).split()
    long = [" ".join(words[(start + i) % len(words)] for i in range(_LONG)) for start in range(12)]
    captions = (template.format(f"{colour} {noun}") for template, colour, noun in product(_TEMPLATES, _COLOURS, _NOUNS))
    return list(islice((*_SENTENCES, *long, *captions), count))
