"""Search by text on the whole sample: a hundred queries in words, written before any text tower was trained."""

from collections.abc import Iterator

import numpy as np
import pytest

import cbir
from tests.support.emoji_queries import QUERIES, answers

REQUIRED = 70
FIRST = 10


@pytest.fixture(scope="module")
def emoji(tmp_path_factory: pytest.TempPathFactory) -> Iterator[cbir.Collection]:
    """All images of the sample, in a store that compares all vectors."""
    url = f"faiss:{tmp_path_factory.mktemp('emoji') / 'index'}?index=Flat"
    with cbir.open(url, create=True) as photos:
        report = photos.add("sample://openmoji")
        assert report.stored == photos.count() > 1800
        yield photos


@pytest.mark.slow
def test_most_of_a_hundred_queries_find_a_right_emoji_among_the_first_ten(emoji: cbir.Collection) -> None:
    found, missed = 0, []
    for query in QUERIES:
        names = [str(hit.payload["name"]) for hit in emoji.search(text=query, limit=FIRST)]
        if any(answers(query, name) for name in names):
            found += 1
        else:
            missed.append(query)
    print(f"{found} of {len(QUERIES)} queries find a right emoji among the first {FIRST}; not: {', '.join(missed)}")  # noqa: T201
    assert len(QUERIES) == 100
    assert found >= REQUIRED, missed


@pytest.mark.slow
def test_texts_and_images_make_one_query(emoji: cbir.Collection) -> None:
    blue = emoji.search(text="blue heart", limit=1)[0]
    mixed = emoji.search(blue, text="cat face", limit=50)
    vectors = dict(zip([image.id for image in emoji.scroll()], emoji.vectors(), strict=True))
    words = emoji.embedder.embed_text(["cat face"])[0]
    mean = (vectors[blue.id] + words) / np.linalg.norm(vectors[blue.id] + words)
    expected = sorted(vectors, key=lambda point_id: -float(vectors[point_id] @ mean))
    assert [hit.id for hit in mixed[:20]] == [point_id for point_id in expected if point_id != blue.id][:20]


@pytest.mark.slow
def test_labels_in_words_are_those_of_most_images(emoji: cbir.Collection) -> None:
    """Two classes that are easy to tell apart. Half of them would be right by chance."""
    labels = {"Flags": "a flag", "Smileys & Emotion": "a smiling face"}
    for label, words in labels.items():
        found = emoji.classify(list(labels.values()), filter=f"label={label}")
        assert len(found) == emoji.count(f"label={label}")
        share = sum(image.label == words for image in found) / len(found)
        assert share > 0.8, (label, share)
