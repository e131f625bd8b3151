"""What bodies hold."""

import base64
from typing import Any

import numpy as np
import pytest
from cbir.serve.bodies import AddBody, EmbedBody, Example, SearchBody, UpdateBody
from pydantic import ValidationError

VECTOR = np.array([0.5, -1.0, 2.0], np.float32)


@pytest.mark.parametrize("value", [[0.5, -1, 2], base64.b64encode(VECTOR.tobytes()).decode()])
def test_a_vector_is_a_list_of_numbers_or_base64(value: Any) -> None:
    vector = SearchBody(vector=value).vector
    assert vector.dtype == np.float32
    assert vector.tolist() == VECTOR.tolist()


@pytest.mark.parametrize(
    "value",
    [[], ["1", "2"], [[1.0], [2.0, 3.0]], [[1.0, 2.0]], [True], [None], {"a": 1}, 5, "AAA=", "no base64!", [10**400]],
)
def test_what_is_no_vector_is_refused(value: Any) -> None:
    with pytest.raises(ValidationError) as error:
        SearchBody(vector=value)
    assert "ector" in str(error.value) or "Base64" in str(error.value)


def test_an_image_is_base64_or_a_data_url() -> None:
    data = b"\x89PNG"
    text = base64.b64encode(data).decode()
    assert SearchBody(image=text).image == SearchBody(image=f"data:image/png;base64,{text}").image == data
    for wrong in ("", "data:image/png;base64,", "***", 5, ["a"]):
        with pytest.raises(ValidationError):
            SearchBody(image=wrong)


def test_an_example_has_exactly_one_kind() -> None:
    assert Example(id="a").weight == 1
    assert Example(vector=[1.0], weight=0.5).weight == 0.5
    for wrong in ({}, {"id": "a", "text": "b"}, {"vector": [1.0], "url": "http://a"}, {"id": "a", "weight": 0}):
        with pytest.raises(ValidationError):
            Example(**wrong)


def test_the_examples_of_a_search_are_in_one_list() -> None:
    body = SearchBody(
        text=["red", "shoe"],
        url="http://a",
        ids=["x"],
        vector=[1.0],
        like=["y", {"text": "blue", "weight": 2}],
        unlike=["z"],
        unlike_text="green",
    )
    found = [
        next((name, value) for name, value in example if value is not None and name != "vector")
        for example in body.positives
        if example.vector is None
    ]
    assert found == [("url", "http://a"), ("text", "red"), ("text", "shoe"), ("id", "x"), ("id", "y"), ("text", "blue")]
    assert [example.weight for example in body.positives] == [1, 1, 1, 1, 1, 1, 2]
    assert [(example.text, example.id) for example in body.negatives] == [("green", None), (None, "z")]


@pytest.mark.parametrize(
    "wrong",
    [
        {"limt": 5},
        {"limit": 0},
        {"limit": 1001},
        {"offset": -1},
        {"diversity": 1.5},
        {"expand": -1},
        {"ef": 0},
        {"min_score": float("nan")},
        {"text": ["a"] * 101},
        {"like": ["a"] * 101},
        {"text": ""},
        {"filter": "x" * 5000},
        {"group_size": 0},
    ],
)
def test_an_unknown_or_invalid_field_is_an_error(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SearchBody(**wrong)


def test_a_payload_is_not_nested_too_deeply() -> None:
    deep: Any = "leaf"
    for _ in range(15):
        deep = {"a": [deep]} if isinstance(deep, str) else {"a": deep}
    with pytest.raises(ValidationError, match="more than 16 levels deep"):
        UpdateBody(changes={"a": {"b": deep}}, ids=["x"])
    assert UpdateBody(changes={"a": {"b": [1]}}, ids=["x"]).changes == {"a": {"b": [1]}}
    with pytest.raises(ValidationError):
        AddBody(images=[{"url": "http://a", "image": "AAAA"}])
    with pytest.raises(ValidationError):
        UpdateBody(changes={})


def test_inputs_to_embed_are_texts_and_images() -> None:
    body = EmbedBody(input=["red", "data:image/png;base64,AAAA", {"url": "http://a"}], user="somebody")
    assert [(example.text, example.url) for example in body.examples()] == [
        ("red", None),
        (None, None),
        (None, "http://a"),
    ]
    assert [example.text for example in EmbedBody(input="red").examples()] == ["red"]
    with pytest.raises(ValidationError):
        EmbedBody(input=[[1, 2, 3]])
