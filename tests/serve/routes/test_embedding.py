"""Vectors over HTTP, in the form of OpenAI's embeddings API."""

import base64
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

import cbir
from tests.serve.conftest import NAME, client_of
from tests.support.examples import SampleImages


def vectors(answer: Any) -> Any:
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["object"], body["usage"]) == ("list", {"prompt_tokens": 0, "total_tokens": 0})
    assert [item["index"] for item in body["data"]] == list(range(len(body["data"])))
    return np.array([item["embedding"] for item in body["data"]], np.float32)


@pytest.mark.parametrize("path", ["/v1/embed", "/v1/embeddings"])
@pytest.mark.parametrize("model", [None, NAME, "photos", "efficientnet_lite0"])
def test_texts_and_images_are_embedded_together(
    path: str, model: str | None, client: TestClient, photos: cbir.Collection, sample_images: SampleImages
) -> None:
    text = base64.b64encode(sample_images[5][2]).decode()
    inputs = ["a red heart", {"image": text}, f"data:image/png;base64,{text}", "a train"]
    found = vectors(client.post(path, json={"input": inputs, **({"model": model} if model else {})}))
    words = photos.embedder.embed_text(["a red heart", "a train"])
    image = photos.embed(sample_images[5][2])
    assert np.allclose(found, [words[0], image, image, words[1]], atol=1e-5)


def test_a_single_text_and_base64(client: TestClient, photos: cbir.Collection) -> None:
    answer = client.post("/v1/embeddings", json={"input": "a cat", "encoding_format": "base64", "user": "somebody"})
    (item,) = answer.json()["data"]
    vector = np.frombuffer(base64.b64decode(item["embedding"]), "<f4")
    assert np.allclose(vector, photos.embedder.embed_text(["a cat"])[0], atol=1e-5)
    assert answer.json()["model"] == "efficientnet_lite0"


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (422, {}, "input"),
        (422, {"input": []}, "input"),
        (422, {"input": [[1, 2]]}, "input"),
        (422, {"input": "  "}, "the text is empty"),
        (422, {"input": "a", "dimensions": 64}, "efficientnet_lite0 has 1280"),
        (422, {"input": "a", "encoding_format": "int8"}, "encoding_format"),
        (422, {"input": [{"image": "AAAA"}]}, "not an image"),
        (404, {"input": "a", "model": "text-embedding-3-small"}, "no collection and no model"),
        (404, {"input": "a", "model": "/etc/passwd"}, "no collection and no model"),
        (413, {"input": ["a"] * 300}, "the limit is 256"),
    ],
)
def test_a_wrong_input_is_one_clear_problem(status: int, body: dict[str, Any], message: str, refused: Any) -> None:
    assert message in refused(status, "POST", "/v1/embed", json=body)


def test_without_a_collection_the_packaged_model_embeds(tmp_path: Any) -> None:
    with client_of(stores=(f"edge:{tmp_path / 'none'}",)) as client:
        assert vectors(client.post("/v1/embed", json={"input": ["a cat"]})).shape == (1, 1280)
        assert vectors(client.post("/v1/embed", json={"input": "a cat", "model": "efficientnet_lite0"})).shape == (
            1,
            1280,
        )
        assert client.post("/v1/embed", json={"input": "a", "model": "other"}).status_code == 404


@pytest.mark.parametrize("model", ["a" * 300, "/etc", "../index"])
def test_a_model_is_no_path(model: str, refused: Callable[..., str]) -> None:
    detail = refused(404, "POST", "/v1/embed", json={"input": "a", "model": model})
    assert detail.startswith("there is no collection and no model")
