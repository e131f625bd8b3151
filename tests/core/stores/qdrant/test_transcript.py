"""The test server answers the requests of `tests/fixtures/qdrant_transcript.jsonl.gz` as Qdrant 1.18.3 did."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.qdrant_engine import STRICT
from tests.support.qdrant_server import Running, qdrant_server

TRANSCRIPT = Path(__file__).parents[3] / "fixtures" / "qdrant_transcript.jsonl.gz"
EXCHANGES = [json.loads(line) for line in gzip.decompress(TRANSCRIPT.read_bytes()).splitlines()]
SETTINGS: dict[str, dict[str, Any]] = {"plain": {}, "key": {"read_only": "reader"}, "strict": {"strict": STRICT}}


@pytest.fixture(params=SETTINGS)
def replayed(request: pytest.FixtureRequest) -> Iterator[tuple[Running, list[dict[str, Any]]]]:
    """A server as one of the transcript's, with the exchanges that it has to repeat."""
    with qdrant_server(api_key="secret" if request.param == "key" else None) as server:
        server.configure(**SETTINGS[request.param])
        yield server, [exchange for exchange in EXCHANGES if exchange["server"] == request.param]


def test_every_request_gets_the_answer_of_the_real_server(replayed: tuple[Running, list[dict[str, Any]]]) -> None:
    server, exchanges = replayed
    different = []
    with httpx.Client(base_url=server.url) as client:
        for exchange in exchanges:
            content = exchange.get("raw") or (json.dumps(exchange["body"]) if exchange["body"] is not None else None)
            headers = {"api-key": exchange["api_key"]} if "api_key" in exchange else {}
            answer = client.request(exchange["method"], exchange["path"], content=content, headers=headers)
            found, expected = (comparable(exchange, content) for content in (read(answer), exchange["answer"]))
            if answer.status_code != exchange["status"] or not alike(found, expected):
                different.append((exchange, answer.status_code, found, expected))
    assert different == []


def test_the_transcript_is_complete() -> None:
    assert len(EXCHANGES) == 170


def read(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except json.JSONDecodeError:
        return answer.text


def comparable(exchange: dict[str, Any], answer: Any) -> Any:
    """Return what has to be the same of an answer: neither the text of an error, nor the order of equals."""
    if not isinstance(answer, dict) or "result" not in answer:
        return "an error" if isinstance(answer, dict) and "title" not in answer else answer
    result, body = answer["result"], exchange["body"]
    if "order_by" in (body or {}):
        return [point["order_value"] for point in result["points"]]
    if exchange["path"].endswith("/groups"):
        return sorted((hits["hits"] for hits in result["groups"]), key=lambda hits: str(hits[0]["id"]))
    if exchange["path"].endswith("/query/batch"):
        return [without_ties(found["points"], search) for found, search in zip(result, body["searches"], strict=True)]
    return without_ties(result["points"], body) if exchange["path"].endswith("/query") else result


def without_ties(hits: list[dict[str, Any]], search: dict[str, Any]) -> Any:
    """Return the hits with equals by id, but of those that the limit may have cut only the scores.

    With diversity, all candidates of the transcript are equally good after the first.
    """
    if "mmr" in str(search["query"]):
        return hits[0]["score"], len(hits)
    cut = hits[-1]["score"] if len(hits) == search["limit"] else None
    return [hit["score"] if hit["score"] == cut else hit for hit in sorted(hits, key=by_score)]


def by_score(hit: dict[str, Any]) -> tuple[float, str]:
    return -hit["score"], str(hit["id"])


def alike(found: Any, expected: Any) -> bool:
    """Return True if two values of JSON are equal. The real server computes with 32 bits."""
    if isinstance(found, dict) and isinstance(expected, dict):
        return found.keys() == expected.keys() and all(alike(found[name], expected[name]) for name in found)
    if isinstance(found, list | tuple) and isinstance(expected, list | tuple):
        return len(found) == len(expected) and all(map(alike, found, expected))
    if isinstance(found, float) and isinstance(expected, float):
        return found == pytest.approx(expected, abs=1e-5)
    return type(found) is type(expected) and found == expected
