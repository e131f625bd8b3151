"""`cbir-bench report` and `compare` on real results."""

import json
from pathlib import Path

import jsonschema
import pytest

from tests.support.running import Program

pytestmark = pytest.mark.bench


def test_the_json_keeps_to_its_schema_and_can_be_compared(run: Program, results: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    assert run("report", made, "--from", results)[0] == 0
    content = json.loads((made / "report.json").read_text())
    schema = json.loads((made / "report.schema.json").read_text())
    jsonschema.validate(content, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**content, "schema": 1}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**content, "results": [{"kind": "models"}]}, schema)
    assert {result["kind"] for result in content["results"]} == {"accuracy", "parity", "latency", "models", "baselines"}

    code, out, _ = run("compare", made / "report.json", made / "report.json")
    assert code == 0 and out.startswith("Nothing changed beyond noise, of ")
    slower = json.loads(json.dumps(content))
    (models,) = [result["section"] for result in slower["results"] if result["kind"] == "models"]
    (row,) = models["parts"][0]["rows"]
    (index,) = [i for i, column in enumerate(models["parts"][0]["columns"]) if column["better"] == "lower"]
    row[index] = {name: 10 * value for name, value in row[index].items()}
    (tmp_path / "slower.json").write_text(json.dumps(slower))
    code, out, _ = run("compare", made / "report.json", tmp_path / "slower.json")
    assert code == 0 and out.startswith("1 worse and 0 better") and "+900.0%" in out
    code, out, _ = run("compare", tmp_path / "slower.json", made / "report.json", "--json", "-")
    changed = {change["name"]: change["verdict"] for change in json.loads(out)["changes"]}
    assert [verdict for verdict in changed.values() if verdict != "the same"] == ["better"]
    for start in ("accuracy / ", "latency / Searches by one client / edge, ", "models / ", "parity / ", "baselines / "):
        assert any(name.startswith(start) for name in changed), start


def test_a_single_result_can_be_compared_too(run: Program, results: Path, tmp_path: Path) -> None:
    result = json.loads((results / "models.json").read_text())["result"]
    (tmp_path / "result.json").write_text(json.dumps(result))
    code, out, _ = run("compare", tmp_path / "result.json", tmp_path / "result.json", "--all")
    assert code == 0 and "of 1 numbers" in out and "efficientnet_lite0" in out
