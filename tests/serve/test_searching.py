"""From the body of a search to vectors and ids."""

import asyncio
import base64
from pathlib import Path

import numpy as np
import pytest
from cbir.serve.bodies import SearchBody
from cbir.serve.searching import ready
from cbir.serve.service import Service
from cbir.serve.settings import ServeSettings
from starlette.exceptions import HTTPException

import cbir
from cbir.records import Entry
from tests.serve.conftest import NAME
from tests.support.examples import SampleImages


def test_examples_become_vectors_and_ids(index: Path, photos: cbir.Collection, sample_images: SampleImages) -> None:
    service = Service(ServeSettings(_env_file=None, stores=(f"faiss:{index}/faiss",), precision="fp32"))
    collection, stored, data = service.collections.open(NAME), next(photos.scroll()), sample_images[4][2]
    body = SearchBody(
        image=base64.b64encode(data).decode(),
        text="a cat",
        ids=[stored.id],
        like=[{"id": stored.key, "weight": 3}, {"vector": [1.0, 2.0]}],
        unlike=[stored.key],
        unlike_text=["a dog"],
    )
    found = asyncio.run(ready(service, collection, body))
    image, text, by_id, by_key, vector = (example for example, _ in found.positives)
    assert np.allclose(image, photos.embed(data), atol=1e-5)
    assert np.allclose(text, photos.embedder.embed_text(["a cat"])[0], atol=1e-5)
    assert by_id == Entry(stored.id, {}) and by_key.id == stored.id  # type: ignore[union-attr]
    assert np.asarray(vector).tolist() == [1, 2]
    assert [weight for _, weight in found.positives] == [1, 1, 1, 3, 1]
    assert np.allclose(found.negatives[0][0], photos.embedder.embed_text(["a dog"])[0], atol=1e-5)
    assert found.negatives[1][0].id == stored.id  # type: ignore[union-attr]
    assert set(found.clock.milliseconds) == {"decode", "preprocess", "model", "text model"}
    for wrong, message in (
        (SearchBody(unlike=["x"]), "give an example"),
        (SearchBody(ids=["x"]), "no image with the id"),
    ):
        with pytest.raises(HTTPException, match=message):
            asyncio.run(ready(service, collection, wrong))
    service.close()
