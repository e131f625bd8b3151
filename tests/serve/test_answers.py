"""What the routes send is what the OpenAPI document says."""

from typing import Any

import pytest
from cbir.serve import answers
from fastapi.testclient import TestClient
from pydantic import BaseModel

import cbir
from tests.serve.conftest import NAME

HERE = f"/v1/collections/{NAME}"
ANSWERS: dict[str, tuple[type[BaseModel], str, str, Any]] = {
    "search": (answers.SearchAnswer, "POST", f"{HERE}/search", {"text": "a cat", "with_vector": True}),
    "groups": (answers.SearchAnswer, "POST", f"{HERE}/search", {"text": "a cat", "group_by": "label"}),
    "batch": (answers.BatchAnswer, "POST", f"{HERE}/search/batch", {"queries": [{"text": "a cat"}]}),
    "collections": (answers.CollectionsAnswer, "GET", "/v1/collections", None),
    "info": (answers.InfoAnswer, "GET", HERE, None),
    "fields": (answers.FieldsAnswer, "GET", f"{HERE}/fields", None),
    "facet": (answers.FacetAnswer, "GET", f"{HERE}/facets/label", None),
    "count": (answers.CountAnswer, "GET", f"{HERE}/count", None),
    "points": (answers.PointsAnswer, "GET", f"{HERE}/points?with_vector=true", None),
    "embed": (answers.EmbedAnswer, "POST", "/v1/embed", {"input": ["a cat"]}),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_has_the_fields_of_its_model(name: str, client: TestClient) -> None:
    model, method, path, body = ANSWERS[name]
    answer = client.request(method, path, json=body)
    assert answer.status_code == 200, answer.text
    values = answer.json()
    strict = type("Strict", (model,), {"model_config": {"extra": "forbid"}, "__module__": model.__module__})
    strict.model_validate(values)


def test_a_point_and_a_problem(client: TestClient, photos: cbir.Collection) -> None:
    answers.PointAnswer.model_validate(client.get(f"{HERE}/points/{next(photos.scroll()).id}").json())
    answers.Problem.model_validate(client.get(f"{HERE}/points/nothing").json())


def test_the_document_has_a_schema_for_every_answer(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    for model, method, path, _ in ANSWERS.values():
        template = path.partition("?")[0].replace(NAME, "{name}").replace("/label", "/{field}")
        shown = document["paths"][template][method.lower()]["responses"]["200"]["content"]["application/json"]["schema"]
        assert shown == {"$ref": f"#/components/schemas/{model.__name__}"}
        assert model.__name__ in schemas
