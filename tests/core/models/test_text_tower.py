"""Text towers: vectors that depend on the text alone, and one clear line for a text or a file that cannot be used."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import cbir
from cbir.errors import CbirError, UsageError
from cbir.models.card import TEXT_CARD
from cbir.models.embedder import Embedder
from cbir.models.sealed import TEXT_CARD_FIELD, TEXT_MODEL, checksum_of, find_model, read_sealed
from cbir.models.text_tower import (
    MAX_CHARACTERS,
    TOKENIZER_FIELD,
    TextTower,
    belongs_to,
    find_text_tower,
    keep_text_tower,
)
from tests.support.exporting import reseal
from tests.support.onnx_file import DIMENSION, cast, node, write_model
from tests.support.text_file import LENGTH, WORDS, text_card, word_tokenizer, word_vectors, write_tower

PACKAGED_TOWER = "efficientnet_lite0-text"
texts = st.text(min_size=1, max_size=80).filter(str.strip)


@pytest.fixture(scope="module")
def tower(embedder: Embedder) -> TextTower:
    """The packaged tower."""
    return embedder.text_tower


@pytest.fixture
def image_model(tmp_path: Path) -> Path:
    """A small image model without a text tower."""
    path = tmp_path / "images" / "made.onnx"
    path.parent.mkdir()
    return write_model(path, [cast("images", "floats"), node("Flatten", "floats", "embeddings")])


@pytest.fixture
def tower_file(image_model: Path, tmp_path: Path) -> Path:
    """A small text tower of that model, in another folder."""
    return write_tower(tmp_path / "tower.onnx", text_card((checksum(image_model),)))


def checksum(path: Path) -> str:
    return checksum_of(path.read_bytes())


@settings(max_examples=25)
@given(st.lists(texts, min_size=1, max_size=5))
@example(["red heart", "a long text of many words, " * 9, "é 日本 🎉", "\x00\u200b", "x"])
def test_vectors_have_length_one_and_do_not_depend_on_the_batch_and_its_padding(
    tower: TextTower, several: list[str]
) -> None:
    together = tower.embed(several)
    assert together.shape == (len(several), 1280)
    assert together.dtype == np.float32
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    alone = np.concatenate([tower.embed([text]) for text in several])
    assert (together * alone).sum(axis=1).min() > 0.99999


def test_texts_keep_their_order_in_any_number_of_batches(tower: TextTower) -> None:
    several = [f"{number} red {'heart ' * (number % 7)}" for number in range(40)]
    together = tower.embed(iter(several))
    for number in (0, 15, 16, 31, 39):
        assert int((together @ tower.embed([several[number]])[0]).argmax()) == number
    assert tower.embed([]).shape == (0, 1280)


def test_threads_get_the_vectors_of_their_texts(tower: TextTower) -> None:
    several = [f"{number} red hearts" for number in range(24)]
    expected = tower.embed(several)
    with ThreadPoolExecutor(4) as pool:
        found = np.concatenate(list(pool.map(lambda text: tower.embed([text]), several)))
    assert (found * expected).sum(axis=1).min() > 0.99999


def test_what_a_text_says_makes_its_vector(tower: TextTower) -> None:
    red, shouted, blue = tower.embed(["red heart", "  RED   heart ", "train"])
    assert red @ shouted > 0.99999  # the tokenizer of the packaged tower does not tell them apart
    assert red @ blue < 0.9


def test_tokens_are_cut_at_the_limit(tower: TextTower) -> None:
    tokens = tower.tokens("word " * 390)
    assert len(tokens) == tower.card.length == 128
    assert tokens[0] == 101 and tokens[-1] == 102, "the marks of begin and end are kept"
    assert len(tower.tokens("word " * 20)) == 22
    long, longer, short = tower.embed(["word " * 200, "word " * 390, "word"])
    assert np.allclose(long, longer, atol=1e-6)
    assert long @ short < 0.999


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the text is empty. Enter a word or a sentence."),
        (" \t\n\u3000", "the text is empty. Enter a word or a sentence."),
        ("x" * 2001, "the text has 2,001 characters; the limit is 2,000"),
        (7, "int is not a text"),
        (None, "NoneType is not a text"),
        (b"red", "bytes is not a text"),
    ],
)
def test_a_text_that_cannot_be_used_is_one_line(text: Any, message: str, tower: TextTower) -> None:
    for call in (tower.tokens, lambda text: tower.embed(["red", text])):
        with pytest.raises(UsageError) as caught:
            call(text)
        assert str(caught.value) == message


def test_a_text_of_the_most_characters_can_be_used(tower: TextTower) -> None:
    assert len(tower.embed(["x" * MAX_CHARACTERS, "🎉" * MAX_CHARACTERS])) == 2


def test_half_a_surrogate_pair_is_a_character_that_cannot_be_read(tower: TextTower) -> None:
    assert tower.tokens("red \ud83d heart") == tower.tokens("red ? heart")
    assert np.isfinite(tower.embed(["\udc80"])).all()


def test_the_packaged_tower_says_what_it_is(tower: TextTower, model_file: Path) -> None:
    card = tower.card
    assert (card.name, card.dimension, card.random_weights) == (PACKAGED_TOWER, 1280, False)
    assert tower.path == find_model(PACKAGED_TOWER)
    assert tower.sha256 == checksum(tower.path)
    assert set(card.images) == {checksum(model_file), checksum(find_model("efficientnet_lite0-int8"))}
    data = tower.path.read_bytes()
    assert b"/site-packages/" not in data and len(data) < 30e6


def test_a_small_tower_adds_up_the_vectors_of_its_words(tower_file: Path, tmp_path: Path) -> None:
    tower, vectors = TextTower(tower_file, threads=1, cache=tmp_path / "cache"), word_vectors()
    assert tower.tokens("red heart train") == [2, 4, 5]
    assert tower.tokens("red " * 20) == [2] * LENGTH
    expected = [vectors[2] + vectors[4], vectors[1]]
    found = tower.embed(["red heart", "unknown"])
    for row, total in zip(found, expected, strict=True):
        assert np.allclose(row, total / np.linalg.norm(total), atol=1e-6)


def changed(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


FILES: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "none": (lambda path, model: None, "cannot read the model .*tower.onnx: No such file"),
    "an image model": (lambda path, model: path.write_bytes(model.read_bytes()), "is not a text tower of cbir. Make"),
    "a page": (lambda path, model: path.write_bytes(b"<html>404</html>"), "is not a model file of cbir"),
    "damaged": (
        lambda path, model: path.write_bytes(changed(write_tower(path, text_card(())).read_bytes(), 300)),
        "is damaged: its bytes do not match its checksum",
    ),
    "cut off": (
        lambda path, model: path.write_bytes(write_tower(path, text_card(())).read_bytes()[:-200]),
        "is (damaged|not a model file of cbir)",
    ),
    "no tokenizer": (lambda path, model: write_tower(path, text_card(()), ""), "has no tokenizer that can be read"),
    "no real tokenizer": (lambda path, model: write_tower(path, text_card(()), "{}"), "has no tokenizer that can be"),
    "more tokens than the graph knows": (
        lambda path, model: write_tower(path, text_card(()), word_tokenizer((*WORDS, "green"))),
        "its tokenizer does not belong to it: it has 7 tokens, and the model knows 6. Build the file again.",
    ),
    "another input": (
        lambda path, model: write_tower(path, text_card(()), given="ids"),
        r"takes \[\('ids', 'tensor\(int64\)'\)\]; a text tower takes only tokens of int64",
    ),
    "another dimension": (
        lambda path, model: write_tower(path, text_card(()), graph_dimension=7),
        rf"returns \[\[7\]\]; its card says one vector of {DIMENSION} dimensions",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_cannot_be_used_is_one_line(name: str, image_model: Path, tmp_path: Path) -> None:
    write, message = FILES[name]
    path = tmp_path / "tower.onnx"
    write(path, image_model)
    with pytest.raises(CbirError, match=message) as caught:
        TextTower(path, cache=tmp_path / "cache")
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_a_tokenizer_of_more_words_than_the_packaged_tower_knows_is_refused(tmp_path: Path) -> None:
    def add_word(model: Any) -> None:
        from tokenizers import Tokenizer

        fields = {field.key: field for field in model.metadata_props}
        tokenizer = Tokenizer.from_str(fields[TOKENIZER_FIELD].value)
        tokenizer.add_tokens(["superlongneologism"])
        fields[TOKENIZER_FIELD].value = tokenizer.to_str()

    path = reseal(find_model(PACKAGED_TOWER), tmp_path / "more.onnx", add_word)
    with pytest.raises(UsageError, match="does not belong to it: it has 30,523 tokens, and the model knows 30,522"):
        TextTower(path, cache=tmp_path / "cache")


def test_a_model_without_text_tower_is_named_with_models_that_have_one(image_model: Path, tmp_path: Path) -> None:
    embedder = Embedder(image_model.rename(image_model.with_name("model.onnx")), device="cpu", cache=tmp_path / "c")
    for call in (lambda: embedder.text_tower, lambda: embedder.embed_text(["red"])):
        with pytest.raises(UsageError, match="^made has no text tower.*such as efficientnet_lite0 or") as caught:
            call()
        assert "\n" not in str(caught.value) and "cbir-export text-head" in str(caught.value)


def test_the_chosen_file_goes_before_one_beside_the_model_and_that_before_a_packaged_one(
    image_model: Path, tmp_path: Path
) -> None:
    sha256 = TEXT_CARD.validate_json(packaged_card()).images[0]

    def found(chosen: Path | None = None) -> Path:
        return find_text_tower(image_model, "made", sha256, chosen)

    assert found() == find_model(PACKAGED_TOWER)
    second = write_tower(image_model.with_name(TEXT_MODEL), text_card((sha256,)))
    assert found() == second
    first = write_tower(image_model.with_name("made-text.onnx"), text_card((sha256,)))
    assert found() == first
    chosen = write_tower(tmp_path / "chosen.onnx", text_card((sha256,)))
    assert found(chosen) == chosen


def packaged_card() -> str:
    from cbir.models.sealed import metadata

    return metadata(read_sealed(find_model(PACKAGED_TOWER)))[TEXT_CARD_FIELD]


def test_a_tower_of_another_model_is_not_taken(image_model: Path, tmp_path: Path) -> None:
    write_tower(image_model.with_name("made-text.onnx"), text_card(("0" * 64,)))
    with pytest.raises(UsageError, match="made has no text tower"):
        find_text_tower(image_model, "made", checksum(image_model))
    foreign = write_tower(tmp_path / "foreign.onnx", text_card(("0" * 64,)))
    with pytest.raises(UsageError, match="the text tower .*foreign.onnx does not belong to the model made, but to"):
        find_text_tower(image_model, "made", checksum(image_model), foreign)
    embedder = Embedder(image_model, device="cpu", cache=tmp_path / "cache", text_model=find_model(PACKAGED_TOWER))
    with pytest.raises(UsageError, match="efficientnet_lite0-text.onnx does not belong to the model made"):
        embedder.embed_text(["red"])


def test_a_tower_belongs_to_the_models_that_its_card_names(tmp_path: Path) -> None:
    path = write_tower(tmp_path / "tower.onnx", text_card(("1" * 64, "2" * 64)))
    assert belongs_to(path, "2" * 64) and belongs_to(path, "1" * 64)
    assert not belongs_to(path, "3" * 64)


def test_the_tower_beside_a_model_is_kept_with_its_collection(
    image_model: Path, tower_file: Path, model_file: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    keep_text_tower(image_model, folder)
    keep_text_tower(model_file, folder)  # that of a packaged model is packaged too
    image_model.with_name(TEXT_MODEL).write_bytes(b"anything")
    keep_text_tower(image_model, folder)
    write_tower(image_model.with_name(TEXT_MODEL), text_card(("0" * 64,)))
    keep_text_tower(image_model, folder)
    assert not list(folder.iterdir())
    image_model.with_name("made-text.onnx").write_bytes(tower_file.read_bytes())
    keep_text_tower(image_model, folder)
    assert [path.name for path in folder.iterdir()] == [TEXT_MODEL]
    assert (folder / TEXT_MODEL).read_bytes() == tower_file.read_bytes()


def test_a_text_tower_is_no_image_model() -> None:
    with pytest.raises(UsageError, match="is a text tower. Name the image model that it belongs to.") as caught:
        cbir.Embedder(PACKAGED_TOWER)
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError) as unknown:
        cbir.Embedder("nothing")
    assert PACKAGED_TOWER not in str(unknown.value), "it is not listed among the models"
