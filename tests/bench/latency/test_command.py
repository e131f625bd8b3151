"""`cbir-bench latency` as a command line, and as `cbir-bench stores`, which it was once."""

import json
from pathlib import Path

import pytest
from cbir.bench.latency import loops, opening

from tests.support.building import both, build, store_options, unit_vectors
from tests.support.running import Program, refused


def test_tables_and_json(made: Path, tmp_path: Path, run: Program) -> None:
    urls = store_options(both(made))
    words = [*urls, "--queries", 20, "-k", 5, "--rounds", 1, "--threads", "1, 2", "--seconds", 0.2, "--field"]
    code, out, err = run("latency", *words, "kind", "--ef", "16,64", "--json", tmp_path / "out.json")
    assert (code, err) == (0, "")
    for text in (
        "searches/s",
        "/ raw",
        "kind=rare",
        "kind=common",
        "Size",
        "up to 2 clients",
        "Open loop",
        "Cold start",
    ):
        assert text in out
    assert "coordinated omission" in out
    result = json.loads((tmp_path / "out.json").read_text())
    assert (result["benchmark"], result["threads"], result["rounds"]) == ("latency", [1, 2], 1)
    curves = result["curves"]
    assert [curve["store"] for curve in curves] == both(made)
    assert all(curve["opening"] and curve["size"] for curve in curves)
    assert [len(curve["points"]) for curve in curves] == [1, 2]
    assert [part["filter"] for part in curves[0]["points"][0]["filtered"]] == ["kind=rare", "kind=common"]
    assert [len(curve["rates"]) for curve in curves] == [len(loops.SHARES)] * 2
    assert result["ingest"] is None
    code, out, _ = run("stores", *words, "nothing", "--effort", 64, "--json", "-")
    result = json.loads(out)
    assert (code, result["benchmark"], result["curves"][1]["points"][0]["filtered"]) == (0, "latency", [])


def test_too_few_points_and_the_same_store_twice_are_found_before_anything_is_measured(
    run: Program, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = both(tmp_path / "index")
    build(empty, unit_vectors(0))

    def fail(*arguments: object) -> None:
        raise AssertionError

    monkeypatch.setattr(opening, "apart", fail)
    for urls, message in ((empty, "has 0 points, but a measurement needs at least 8."), (both(made)[:1] * 2, "twice")):
        assert message in refused(run, ["latency", *store_options(urls)])


@pytest.mark.parametrize(
    "wrong",
    [
        ("--ef", "0"),
        ("--ef", "a,b"),
        ("--threads", "0"),
        ("--seconds", "-1"),
        ("--search-during-ingest", "it's"),
    ],
)
def test_wrong_options_are_one_line(run: Program, made: Path, wrong: tuple[str, str]) -> None:
    code, _, err = run("latency", "--store", both(made)[0], *wrong)
    assert code == 2 and wrong[0] in err and len(err.strip().splitlines()) == 1
