"""The files of models over HTTP."""

import errno
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from cbir.models.received import ReceivedModels
from cbir.models.sealed import checksum_of, find_model
from tests.serve.conftest import NAME
from tests.support.building import TINY_MODEL

SHA256 = checksum_of(TINY_MODEL)


def test_the_model_of_a_collection_is_given_away_byte_for_byte(client: TestClient) -> None:
    sha256 = client.get(f"/v1/collections/{NAME}").json()["model"]["sha256"]
    answer = client.get(f"/v1/models/{sha256}/model")
    assert answer.status_code == 200
    packaged = Path(find_model(NAME.partition("-")[2]))
    assert answer.content == packaged.read_bytes()
    assert client.get(f"/v1/models/{sha256}/text").status_code == 404, "the packaged text tower is everywhere"


@pytest.mark.parametrize("path", ["0" * 64 + "/model", "x/model", "../../etc/passwd/model", "0" * 64 + "/other"])
def test_nothing_else_is_given_away(path: str, client: TestClient) -> None:
    assert client.get(f"/v1/models/{path}").status_code in (404, 422)


def test_a_model_is_sent_in_pieces(writer: TestClient) -> None:
    path = f"/v1/models/{SHA256}/model"
    assert writer.put(f"{path}?start=0&last=false", content=TINY_MODEL[:30]).json() == {"complete": False}
    assert writer.put(f"{path}?start=10&last=true", content=TINY_MODEL[10:]).status_code == 422
    assert writer.put(f"{path}?start=30&last=true", content=TINY_MODEL[30:]).json() == {"complete": True}


def test_a_damaged_one_is_refused_without_a_path_of_the_server(writer: TestClient) -> None:
    answer = writer.put(f"/v1/models/{SHA256}/model", content=TINY_MODEL[:-1])
    assert (answer.status_code, answer.json()["detail"]) == (422, "this is not a whole model file of cbir")


def test_a_full_disk_is_507(writer: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ReceivedModels, "append", fail)
    answer = writer.put(f"/v1/models/{SHA256}/model", content=TINY_MODEL)
    assert answer.status_code == 507
