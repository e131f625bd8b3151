"""Requests that schemathesis makes from the OpenAPI document: none makes the server fail."""

import hypothesis
import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck
from schemathesis.checks import not_a_server_error

from tests.serve.conftest import AS_WRITER


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_no_request_of_the_document_makes_the_server_fail(writer: TestClient) -> None:
    document = schemathesis.openapi.from_asgi("/openapi.json", writer.app)
    statuses = set()
    for found in document.get_all_operations():
        operation = found.ok()

        @hypothesis.settings(
            max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
        )
        @hypothesis.given(operation.as_strategy())
        def send(case: schemathesis.Case) -> None:
            if len(str(case.path_parameters.get("name", ""))) % 2:  # half of them are for a collection that exists
                case.path_parameters["name"] = "few"
            answer = case.call(headers=AS_WRITER)
            case.validate_response(answer, checks=[not_a_server_error])
            statuses.add(answer.status_code)

        send()
    assert {200, 404, 422} <= statuses
