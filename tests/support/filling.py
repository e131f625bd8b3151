"""Requests that fill a collection over HTTP with made-up vectors."""

from dataclasses import asdict, replace
from typing import Any

from cbir.records import point_id, vector_text
from tests.support.building import MODEL, unit_vectors

FILLING = "/v1/collections/made/filling"
KNOWN = replace(MODEL, name="efficientnet_lite0")
"""The checksum is that of the packaged model."""


def body(**more: Any) -> dict[str, Any]:
    return {"dataset": "set", "source": "nowhere", "model": asdict(KNOWN), **more}


def point(number: int, **changes: Any) -> dict[str, Any]:
    vector = unit_vectors(number + 1, dimension=KNOWN.dimension)[number]
    payload = {"key": str(number), "sha256": f"{number}", "label": "made"}
    return {"id": point_id("set", str(number)), "vector": vector_text(vector), "payload": payload, **changes}
