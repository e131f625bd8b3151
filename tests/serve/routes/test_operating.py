"""Health, readiness and metrics."""

import re

import pytest
from cbir.serve.service import Service
from fastapi.testclient import TestClient

import cbir
from cbir.errors import CbirError
from tests.serve.conftest import NAME


def test_a_server_that_can_read_its_store_is_ready(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready", "collection": NAME}

    def failing(_: Service) -> None:
        raise CbirError("/srv/secret cannot be read")

    monkeypatch.setattr(Service, "default", failing)
    answer = client.get("/readyz")
    assert answer.status_code == 503 and "secret" not in answer.text
    assert client.get("/healthz").status_code == 200


def value(text: str, metric: str) -> float:
    """Return the value of a metric with its labels, 0 if it was never counted."""
    found = re.search(rf"^{re.escape(metric)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_metrics_count_requests_stages_and_points(client: TestClient, photos: cbir.Collection) -> None:
    route = "/v1/collections/{name}/search"
    good = f'cbir_requests_total{{method="POST",route="{route}",status="200"}}'
    bad = f'cbir_requests_total{{method="POST",route="{route}",status="422"}}'
    stage = 'cbir_stage_seconds_count{stage="store"}'
    before = client.get("/metrics").text
    for body in ({"text": "a cat"}, {"text": "a dog"}, {"text": ""}):
        client.post(f"/v1/collections/{NAME}/search", json=body)
    client.post(f"/v1/collections/{NAME}/search/batch", json={"queries": [{"text": "a cat"}, {"text": "a dog"}]})
    after = client.get("/metrics").text
    assert [value(after, name) - value(before, name) for name in (good, bad, stage)] == [2, 1, 4]
    assert value(after, f'cbir_points{{collection="{NAME}"}}') == photos.count()
    assert 'model="efficientnet_lite0"' in after and 'cbir_queue{queue="search"} 0.0' in after
    assert value(after, f'cbir_request_seconds_count{{route="{route}"}}') >= 3
    client.get("/v1/collections/x/../../unknown/path")
    assert 'route="other"' in client.get("/metrics").text, "a path that does not exist makes no new series"
