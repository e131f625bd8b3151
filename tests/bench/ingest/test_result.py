"""The result of `cbir-bench ingest`: a real run, saved, loaded and printed with its verdict first."""

import json
from pathlib import Path

from cbir.bench.embedding.measure import DURABLE, MODEL
from cbir.bench.ingest.result import SUBJECT

from cbir.tables import floored
from tests.support.running import Program


def test_a_result_is_saved_loaded_and_printed(run: Program, folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "speed.json"
    code, out, err = run(folder, "--rounds", 1, "--seconds", 0.2, "--limit", 8, "--json", target)
    assert code == 0, err
    content = json.loads(target.read_text())
    result = SUBJECT.load(content)
    assert SUBJECT.dump(result) == content
    (ratio,) = [part.ratio for part in result.models[0].parts if part.name == MODEL]
    assert ratio is not None
    share = floored(ratio.value, 2)
    verdict = f"An ingest with efficientnet_lite0 (fp32) reaches {share:.0%} of the speed of its model alone."
    assert SUBJECT.present(result).verdicts == [verdict]
    assert out.startswith(verdict) and DURABLE in out
