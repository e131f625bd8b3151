"""What a query's examples are made of: an id, a key, a file, a URL, an image, a vector or a text."""

import io
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import cbir
from cbir.errors import ImageError, UsageError
from cbir.images.crop import Crop
from cbir.images.decode import decode
from cbir.models.embedder import Embedder
from cbir.search import examples
from cbir.search.examples import Clock, ExampleMaker, embed_text, is_id, weighted_images, weighted_texts
from cbir.settings import Settings
from tests.support.api import claim_another_model
from tests.support.examples import SampleImages


def test_a_part_of_an_image_is_embedded_as_that_part_alone(
    example_photos: cbir.Collection, sample_images: SampleImages
) -> None:
    data = sample_images[9][2]
    image = decode(data)
    crop = Crop(10, 20, 60, 90)
    width, height = image.size
    part = io.BytesIO()
    image.crop((width // 10, height // 5, -(-width * 6 // 10), -(-height * 9 // 10))).save(part, "PNG")
    assert np.allclose(example_photos.embed(data, crop), example_photos.embed(part.getvalue()), atol=1e-6)
    assert not np.allclose(example_photos.embed(data, crop), example_photos.embed(data), atol=1e-2)


def test_too_many_pixels_are_refused(index: Path, sample_images: SampleImages) -> None:
    settings = Settings(max_image_megapixels=0.01)
    with cbir.open(f"edge:{index}", settings=settings) as small, pytest.raises(ImageError, match="too large"):
        small.embed(sample_images[0][2])


def test_stores_of_one_model_share_its_embedder(index: Path) -> None:
    with cbir.open(f"edge:{index}") as first, cbir.open(f"faiss:{index}/faiss") as second:
        assert first.embedder is second.embedder


def test_an_embedder_is_shared_only_on_the_chosen_device(index: Path) -> None:
    with cbir.open(f"edge:{index}") as first:
        before = first.embedder
        with cbir.open(f"edge:{index}", settings=Settings(device="cpu")) as second:
            assert second.embedder is not before
            assert second.embedder.device == "cpu"


def test_another_model_than_the_collections_is_refused(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claim_another_model(monkeypatch)
    with (
        cbir.open(f"edge:{index}") as photos,
        pytest.raises(UsageError, match="was made by another efficientnet_lite0"),
    ):
        photos.embedder  # noqa: B018


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("b6d7c0c4-6f0e-5d0e-9c43-1f6b1f0c8a51", True),
        ("B6D7C0C4-6F0E-5D0E-9C43-1F6B1F0C8A51", False),
        ("b6d7c0c46f0e5d0e9c431f6b1f0c8a51", False),
        ("1F600", False),
        (7, False),
        (None, False),
    ],
)
def test_an_id_is_written_in_one_way(value: object, expected: bool) -> None:
    assert is_id(value) is expected


def test_a_text_is_an_id_before_a_file_and_a_file_before_a_key(
    example_photos: cbir.Collection, sample_images: SampleImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, settings = example_photos.store, Settings()

    def example(text: str) -> object:
        return ExampleMaker(store, store.info, lambda: example_photos.embedder, settings, Clock()).image(text)

    stored = example_photos.get("1F600")
    assert stored is not None
    assert example("1F600") == example(stored.id) == stored.id
    for name in ("1F600", stored.id):
        (tmp_path / name).write_bytes(sample_images[7][2])
    with monkeypatch.context() as elsewhere:
        elsewhere.chdir(tmp_path)
        assert example(stored.id) == stored.id
        assert np.array_equal(example("1F600"), example_photos.embed(sample_images[7][2]))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (np.ones(7, np.float32), r"the query has shape \(7,\), the collection's vectors have 1280 dimensions"),
        (np.ones((1, 1280), np.float32), r"the query has shape \(1, 1280\)"),
        (np.zeros(1280), "the query vector is zero, or has values that are not finite"),
        (np.full(1280, np.nan), "the query vector is zero, or has values that are not finite"),
        (np.ones(1280, np.int32), "an array of int32 is neither an image"),
        ("nowhere.png", "'nowhere.png' is not a file, and collection .* has no image with this key"),
        ("x" * 5000, "is not a file"),
        ("~nobody/x.png", "is not a file"),
        ("a\0b", "is not a file"),
    ],
    ids=["short", "matrix", "zero", "nan", "integers", "missing", "long", "user", "character"],
)
def test_what_is_no_example_is_refused(query: str | np.ndarray, message: str, example_photos: cbir.Collection) -> None:
    store = example_photos.store
    with pytest.raises(UsageError, match=message):
        ExampleMaker(store, store.info, lambda: example_photos.embedder, Settings(), Clock()).image(query)


def test_a_vector_of_any_length_is_an_example(example_photos: cbir.Collection) -> None:
    store = example_photos.store
    vector = np.zeros(1280)
    vector[3] = 5
    found = ExampleMaker(store, store.info, lambda: example_photos.embedder, Settings(), Clock()).image(vector)
    assert isinstance(found, np.ndarray)
    assert found.dtype == np.float32
    assert np.array_equal(found, vector / 5)


FORMS: dict[str, tuple[Any, list[tuple[Any, float]]]] = {
    "one": ("a", [("a", 1.0)]),
    "a list": (["a", "b"], [("a", 1.0), ("b", 1.0)]),
    "a tuple": (("a", "b"), [("a", 1.0), ("b", 1.0)]),
    "a tuple of three": (("a", "b", "c"), [("a", 1.0), ("b", 1.0), ("c", 1.0)]),
    "one with a weight": (("a", 0.5), [("a", 0.5)]),
    "one with a whole weight": (("a", 2), [("a", 2)]),
    "a weight of NumPy": (("a", np.float32(0.5)), [("a", 0.5)]),
    "another weight of NumPy": ([("a", np.float64(0.5)), ("b", np.int64(3))], [("a", 0.5), ("b", 3)]),
    "a list of one with a weight": ([("a", 0.5)], [("a", 0.5)]),
    "mixed": (["a", ("b", 3), "c", ("d", 0.25)], [("a", 1.0), ("b", 3), ("c", 1.0), ("d", 0.25)]),
    "a weight that is refused later": (("a", -1.0), [("a", -1.0)]),
    "a truth": (("a", True), [("a", 1.0), (True, 1.0)]),  # no weight, and so no example either
    "none": ([], []),
    "no tuple": ((), []),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("weighted", [weighted_images, weighted_texts])
def test_examples_come_alone_in_a_list_and_with_weights(weighted: Callable[[Any], list[Any]], form: str) -> None:
    given, expected = FORMS[form]
    assert weighted(given) == expected


def test_an_image_in_any_form_is_a_single_example_or_has_a_weight(sample_images: SampleImages) -> None:
    data = sample_images[0][2]
    hits = cbir.Hits([cbir.Hit(str(number), {"key": "a"}, 0.5) for number in range(2)])
    for image in (data, decode(data), np.zeros((4, 4, 3), np.uint8), np.ones(1280), Path("a.png"), hits[0], 7):
        for given, weight in ((image, 1.0), ([image], 1.0), ((image, 0.5), 0.5), ([(image, 0.5)], 0.5)):
            ((found, its_weight),) = weighted_images(given)  # type: ignore[arg-type]
            assert found is image and its_weight == weight
    assert weighted_images(hits) == [(hits[0], 1.0), (hits[1], 1.0)]


def test_texts_are_examples_with_a_stage_of_their_own(example_photos: cbir.Collection) -> None:
    store, clock = example_photos.store, Clock()
    maker = ExampleMaker(store, store.info, lambda: example_photos.embedder, Settings(), clock)
    found = maker.texts([("red heart", 1.0), ("a train", 0.5)])
    expected = example_photos.embedder.embed_text(["red heart", "a train"])
    assert [weight for _, weight in found] == [1.0, 0.5]
    assert np.allclose(np.stack([vector for vector, _ in found]), expected, atol=1e-6)
    assert list(clock.milliseconds) == ["text model"] and clock.milliseconds["text model"] > 0
    assert [image for image, _ in maker.images([("1F600", 0.5)])] == [maker.image("1F600")]


def test_a_query_without_texts_loads_no_text_tower(example_photos: cbir.Collection) -> None:
    def load() -> Embedder:
        raise AssertionError("the embedder is loaded")

    store, clock = example_photos.store, Clock()
    maker = ExampleMaker(store, store.info, load, Settings(), clock)
    assert maker.texts([]) == []
    assert maker.images([("1F600", 2.0)]) == [(maker.image("1F600"), 2.0)]
    assert clock.milliseconds == {}


def test_a_vector_of_a_text_that_is_not_finite_is_an_error() -> None:
    class Broken:
        text_tower = SimpleNamespace(embed=lambda texts: np.full((len(texts), 4), np.nan, np.float32))

    with pytest.raises(cbir.CbirError, match="^the text tower returned a vector that is not finite$"):
        embed_text(["red"], Broken(), Clock())  # type: ignore[arg-type]


def test_a_stage_adds_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples, "time", SimpleNamespace(perf_counter=iter([0.0, 1.0, 5.0, 7.0]).__next__))
    clock = Clock()
    for _ in range(2):
        with clock.stage("store"):
            pass
    assert clock.milliseconds == {"store": 3000}
