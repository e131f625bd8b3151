"""The images of a query."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from cbir.ui.query import choice, images, state
from cbir.ui.query.choice import Chosen
from cbir.ui.query.images import ReadyExample, UploadCache, UploadedImage
from cbir.ui.query.state import Example

import cbir
from cbir.collection import Collection
from cbir.errors import ImageError
from cbir.images.crop import Crop
from cbir.models.text_tower import TextTower
from cbir.results import Hits
from cbir.settings import Settings
from cbir.stores.registry import connect
from tests.support.api import FLAT, write_images
from tests.support.examples import SampleImages
from tests.support.onnx_file import cast, node, write_model
from tests.support.web_server import answer, serve


def uploaded(name: str, size: int) -> UploadedImage:
    return UploadedImage(name, bytes(size))


def test_the_upload_cache_keeps_the_most_recently_used_images() -> None:
    cache = UploadCache(max_bytes=100)
    names = [cache.put(uploaded(f"{number}", 30)) for number in range(3)]
    assert cache.get(names[0]) == uploaded("0", 30)
    last = cache.put(uploaded("3", 30))
    assert [cache.get(name) is not None for name in (*names, last)] == [True, False, True, True]
    large = cache.put(uploaded("large", 1000))
    assert [cache.get(name) is not None for name in (*names, last, large)] == [False, False, False, False, True]
    assert len({*names, last, large}) == 5
    assert all(len(name) >= 20 for name in names)


@pytest.mark.parametrize("use", [lambda cache: cache.put(uploaded("b", 1)), lambda cache: cache.get("a")])
def test_threads_use_the_upload_cache_one_after_the_other(use: Callable[[UploadCache], object]) -> None:
    cache, threads = UploadCache(100), list[Thread]()

    class Data(bytes):
        def __len__(self) -> int:
            """Let another thread try to use the cache, which is just adding up the sizes."""
            if not threads:
                threads.append(Thread(target=use, args=(cache,)))
                threads[0].start()
                threads[0].join(0.2)
                assert threads[0].is_alive(), "it did not wait for the lock"
            return 1

    cache.put(UploadedImage("a", Data()), "a")
    cache.put(uploaded("c", 1), "c")
    threads[0].join()
    assert cache.get("a") and cache.get("c")


@pytest.fixture
def collection(index: Path) -> Iterator[Collection]:
    """The collection that the visitor has chosen; it may fetch from this machine."""
    settings = Settings(allow_private_addresses=True)
    with Collection([connect(f"edge:{index}", settings)], "photos-efficientnet_lite0", settings) as opened:
        yield opened


def test_unusable_images_are_named_and_the_others_searched(
    session: dict[str, object], sample_images: SampleImages, collection: Collection
) -> None:
    files = [
        ("a.png", sample_images[0][2]),
        ("b.png", b"no"),
        ("c.png", bytes(images.MAX_BYTES + 1)),
        ("d.png", sample_images[1][2]),
    ]
    images.upload(files, collection)
    first, second = state.current()
    assert images.uploaded(first.ref, collection).data == sample_images[0][2]
    assert images.uploaded(second.ref, collection).name == "d.png"
    assert state.problems() == [
        "b.png cannot be used: not an image of a known format.",
        "c.png cannot be used: larger than 10 MB.",
    ]
    session["adding"] = True
    images.upload([("e.png", sample_images[2][2])], collection)
    assert (state.current()[:2], len(state.current())) == ((first, second), 3)
    assert state.problems() == []
    images.upload([(f"{number}.png", data) for number, (_, _, data) in enumerate(sample_images[:11])], collection)
    assert len(state.current()) == state.MAX_EXAMPLES
    assert state.problems() == ["A query has at most 10 images; the last ones are used."]


def test_an_image_that_was_dropped_has_to_be_uploaded_again(collection: Collection) -> None:
    with pytest.raises(ImageError, match="is no longer kept"):
        images.uploaded("a-name-that-nobody-knows", collection)


def test_a_url_is_fetched_once_within_limits(
    session: dict[str, object], sample_images: SampleImages, collection: Collection, index: Path
) -> None:
    public = Collection([connect(f"edge:{index}", Settings())], "photos-efficientnet_lite0", Settings())
    with serve() as site:
        site.pages["/cats/tom.png"] = partial(answer, body=sample_images[0][2])
        site.pages["/text"] = partial(answer, body=b"text")
        site.pages["/large"] = partial(answer, body=bytes(images.MAX_BYTES + 1))
        with pytest.raises(ImageError, match="cannot be used: .*private") as refused:
            images.uploaded(f"{site.url}/cats/tom.png", public)
        assert str(refused.value).endswith("127.0.0.1 leads to a private network.")
        assert site.asked == []
        for _ in range(2):
            assert images.uploaded(f"{site.url}/cats/tom.png", collection).name == "tom.png"
        assert len(site.asked) == 1
        for path in ("text", "large", "missing"):
            with pytest.raises(ImageError, match="cannot be used"):
                images.uploaded(f"{site.url}/{path}", collection)
    for text in ("file:///etc/passwd", "ftp://a.org/x.png", "/etc/passwd", "tom.png"):
        images.upload_url(text)
        assert state.current() == ()
        assert "http:// or https://" in state.problems()[-1]


def test_an_upload_is_decoded_once_for_its_vector_thumbnail_and_preview(
    session: dict[str, object], sample_images: SampleImages, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[bytes] = []

    def decode(data: bytes, *arguments: object) -> object:
        decoded.append(data)
        return real(data, *arguments)

    real = images.decode
    monkeypatch.setattr(images, "decode", decode)
    data = sample_images[20][2]  # no other test uploads it
    images.upload([("a.png", data)], collection)
    chosen = Chosen(collection, collection.info)
    for _ in range(2):
        (example,), _ = images.make_ready(state.current(), chosen)
    assert decoded == [data]
    assert example.image and example.preview
    assert example.image[:3] == example.preview[:3] == b"\xff\xd8\xff"
    assert np.allclose(example.vector, collection.embed(data), atol=1e-6)
    state.change("crop", 0, [10, 10, 60, 60])
    (part,), _ = images.make_ready(state.current(), chosen)
    assert decoded == [data, data], "a part is cut from the whole at full size"
    assert np.allclose(part.vector, collection.embed(data, Crop(10, 10, 60, 60)), atol=1e-6)
    assert (part.preview, part.image != example.image) == (example.preview, True)


def test_a_text_is_embedded_once_and_has_no_image(
    session: dict[str, object], collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded: list[list[str]] = []
    embed = TextTower.embed

    def noted(self: TextTower, texts: list[str]) -> object:
        embedded.append(texts)
        return embed(self, texts)

    monkeypatch.setattr(TextTower, "embed", noted)
    chosen = Chosen(collection, collection.info)
    query = (Example("a purple heart", words=True), Example("a flag", sign="unlike", words=True))
    for _ in range(2):
        ready, problems = images.make_ready(query, chosen)
    assert problems == [] and embedded == [["a purple heart"], ["a flag"]]
    first, second = ready
    assert (first.title, first.line, first.image, first.preview, first.sha256) == (
        "a purple heart",
        "Text",
        None,
        None,
        "",
    )
    assert np.allclose(first.vector, collection.embedder.embed_text(["a purple heart"])[0], atol=1e-6)
    assert images.vectors(ready, "like") == [first.vector] and images.vectors(ready, "unlike") == [second.vector]
    assert list(first.milliseconds) == ["text model"]
    spent = images.with_times(Hits(milliseconds={"store": 1.0}), ready).milliseconds
    assert spent == {
        "text model": first.milliseconds["text model"] + second.milliseconds["text model"],
        "store": 1.0,
    }


def test_a_text_that_cannot_be_used_is_a_sentence_and_the_others_are_kept(
    session: dict[str, object], collection: Collection
) -> None:
    (stored,) = collection.store.sample(1, 1)
    query = (Example("x" * 2001, words=True), Example(stored), Example("red", words=True), Example(" ", words=True))
    ready, problems = images.make_ready(query, Chosen(collection, collection.info))
    assert [example.example for example in ready] == [Example(stored), Example("red", words=True)]
    assert problems == [
        "The text has 2,001 characters; the limit is 2,000.",
        "The text is empty. Enter a word or a sentence.",
    ]


@pytest.fixture
def without_tower(tmp_path: Path) -> Iterator[Chosen]:
    """A collection of a model without a text tower."""
    nodes = [cast("images", "floats"), node("Flatten", "floats", "flat"), node("LpNormalization", "flat", "embeddings")]
    model = write_model(tmp_path / "made.onnx", nodes)
    with cbir.open(FLAT, create=True, model=model) as photos:
        photos.add(write_images("photos", 3, 1))
        yield Chosen(photos, photos.info)


def test_a_model_without_text_tower_is_a_sentence(session: dict[str, object], without_tower: Chosen) -> None:
    (stored,) = without_tower.store.sample(1, 1)
    query = (Example(stored), Example("red", words=True), Example("blue", sign="unlike", words=True))
    ready, (problem,) = images.make_ready(query, without_tower)
    assert [example.example for example in ready] == [Example(stored)]
    assert problem.startswith("Made has no text tower, so it cannot be searched by text. Use a model that has one")


def test_only_a_query_of_texts_has_the_calibration_of_texts(
    session: dict[str, object], collection: Collection, without_tower: Chosen
) -> None:
    def ready(sign: state.Sign, words: bool) -> ReadyExample:
        return ReadyExample(Example("a", sign=sign, words=words), "a", "", None, None, "")

    text, image = ready("like", True), ready("like", False)
    no_text, no_image = ready("unlike", True), ready("unlike", False)
    chosen = Chosen(collection, collection.info)
    for examples in ([text], [text, text], [text, no_text], [text, no_image]):
        found = images.calibration(chosen, examples)
        assert found.of_texts and found is choice.text_calibration(chosen)
    for examples in ([], [image], [image, text], [text, image, no_text], [no_text], [no_image]):
        found = images.calibration(chosen, examples)
        assert not found.of_texts and found is choice.score_calibration(chosen)
    assert not images.calibration(without_tower, [no_image]).of_texts, "it needs no text tower"
