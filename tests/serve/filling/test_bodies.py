"""The bodies with which clients fill a collection."""

import pytest
from cbir.serve.filling.bodies import FillingBody, NewPoint
from pydantic import ValidationError

from cbir.records import digest
from tests.support.filling import KNOWN, body, point


def test_the_body_is_the_plan_of_the_collection() -> None:
    plan = FillingBody.model_validate(body()).filling("made").plan
    assert (plan.collection, plan.dataset, plan.source, plan.model) == ("made", "set", "nowhere", KNOWN)


def test_a_point_has_the_digest_of_its_payload() -> None:
    given = point(3, version="12 34", thumbnail="AAEC")
    made = NewPoint.model_validate(given).point()
    assert (made.version, made.thumbnail, made.digest) == ("12 34", b"\0\1\2", digest(given["payload"]))
    assert made.vector.shape == (KNOWN.dimension,)


def test_a_payload_that_is_too_deep_is_refused() -> None:
    deep: dict[str, object] = {}
    for _ in range(40):
        deep = {"a": deep}
    with pytest.raises(ValidationError, match="levels deep"):
        NewPoint.model_validate(point(0, payload={"key": "", "sha256": "", "deep": deep}))
