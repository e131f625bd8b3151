"""The stores that a run fills: each kind of them, and several at once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.building import both
from tests.support.qdrant_server import qdrant_server


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """A server that the tests of a run share; each fills collections of its own."""
    with qdrant_server() as running:
        yield running.url


@pytest.fixture(params=["embedded", "server", "several"])
def urls(request: pytest.FixtureRequest, server_url: str, tmp_path: Path) -> list[str]:
    """The stores of one run."""
    local, other = both(tmp_path / "index"), f"faiss:{tmp_path}/other"
    return {"embedded": local, "server": [server_url], "several": [*local, other, server_url]}[request.param]


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name for a collection that no other test has."""
    return "".join(letter if letter.isalnum() else "-" for letter in request.node.name)
