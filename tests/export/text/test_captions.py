"""Captions as numbers, and shorter ones made of their words."""

import numpy as np
from cbir.export.text.captions import number_texts, variations


def test_each_text_has_one_number() -> None:
    texts = number_texts([["red"], ["blue", "red"], ["red", "dark"]], seed=1)
    assert texts.own == [[0], [1, 0], [0, 2]]
    assert texts.texts == ["red", "blue", "dark"]


def test_variations_are_words_of_a_caption_in_their_order() -> None:
    captions = ["a dog runs on the wet sand", "one"]
    rng = np.random.default_rng(0)
    lengths = set()
    for _ in range(50):
        made = variations(captions, rng)
        assert len(made) == 6
        for text in made:
            words = text.split()
            lengths.add(len(words))
            remaining = iter(captions[0].split())
            assert text == "one" or all(word in remaining for word in words)
        assert all(len(text.split()) == 1 for text in made[:2])
        assert all(len(text.split()) <= 2 for text in made[2:4])
    assert lengths == {1, 2, 3, 4, 5, 6}


def test_captions_become_numbers_of_texts() -> None:
    captions = [["a red cat", "cat"], ["a red cat"]]
    texts = number_texts(captions, seed=1)
    names = texts.texts
    assert [[names[number] for number in own] for own in texts.own] == captions
    assert texts.shorter.shape == (2, 6)
    words = {"a", "red", "cat"}
    assert all(set(names[number].split()) <= words for number in texts.shorter.ravel())
    again = number_texts(captions, seed=1)
    assert (again.shorter == texts.shorter).all() and again.own == texts.own
