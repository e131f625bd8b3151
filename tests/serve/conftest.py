"""One application for the tests that only read, and one of its own for each test that changes something."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cbir.serve.app import create_app
from cbir.serve.settings import ServeSettings
from fastapi.testclient import TestClient

import cbir
from tests.support.api import write_images
from tests.support.filling import FILLING, body

READ, WRITE = "a read key of a test", "a write key of a test"
NAME = "photos-efficientnet_lite0"
AS_WRITER = {"api-key": WRITE}


def client_of(**settings: Any) -> TestClient:
    """Return a client of an application with these settings; as a context, it is started and closed."""
    return TestClient(create_app(ServeSettings(_env_file=None, precision="fp32", **settings)))


@pytest.fixture(scope="module")
def client(index: Path) -> Iterator[TestClient]:
    """A client of 300 images in FAISS and Edge, which everybody may read."""
    with client_of(stores=(f"faiss:{index}/faiss",)) as opened:
        yield opened


@pytest.fixture(scope="module")
def photos(index: Path) -> Iterator[cbir.Collection]:
    """The same collection in Python."""
    with cbir.open(f"faiss:{index}/faiss") as opened:
        yield opened


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[TestClient]:
    """A client with a write key, of a collection `few` of six images that the test may change."""
    url = f"faiss:{tmp_path / 'index'}?index=Flat"
    with cbir.open(url, "few", create=True) as few:
        few.add(write_images(str(tmp_path / "few"), 6, 3))
    with client_of(stores=(url,), write_keys=(WRITE,), max_batch=20, allow_private_addresses=True) as opened:
        opened.headers.update(AS_WRITER)
        yield opened


@pytest.fixture
def refused(client: TestClient) -> Callable[..., str]:
    """Return what sends a request that is refused, checks that the answer is a problem, and returns its detail."""

    def send(status: int, method: str, path: str, **options: Any) -> str:
        answer = client.request(method, path, **options)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["status"] == status and problem["request_id"] == answer.headers["x-request-id"]
        return str(problem["detail"])

    return send


@pytest.fixture
def ask(writer: TestClient) -> Any:
    """Return what sends a body to a route of the filling, and returns its answer."""

    def send(what: str, **more: Any) -> Any:
        answer = writer.post(f"{FILLING}/{what}".rstrip("/"), json=body(**more))
        assert answer.status_code == 200, answer.text
        return answer.json()

    return send
