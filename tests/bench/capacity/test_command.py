"""The command line of `cbir-bench plan`."""

import json
from pathlib import Path

import pytest
from cbir.bench import command
from cbir.bench.capacity import probe
from cbir.bench.capacity.result import SUBJECT

from tests.support.running import Program, refused, runner


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    """Run the command line in this process and return exit code, output and errors."""
    return runner(monkeypatch, capsys, command.main, "cbir-bench", "plan")


def test_a_plan_is_of_this_machine(
    run: Program, photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "PROBE_BYTES", 2000 * 4 * 64)
    options = ("--dimension", 64, "--data", photo_folder, "--store", "faiss:.?index=HNSW8", "--json", tmp_path / "p")
    code, out, _ = run("20K", "1B", *options)
    assert code == 0
    result = json.loads((tmp_path / "p").read_text())
    (measured,) = result["indexes"]
    assert (measured["points"], measured["access"]) == (2000, "graph")
    few, many = result["plans"]
    assert [few["images"], many["images"]] == [20_000, 10**9]
    hours = 20_000 * result["images"]["core_seconds"] / 3600
    assert few["indexes"][0]["embedding_hours"] == pytest.approx(hours)
    assert result["images"]["count"] == 128
    assert out.startswith(
        "20,000 images: 1 server of 128 GB, float32 in RAM: --store 'http://HOST:6333'\n1,000,000,000 images: "
    )
    for text in ("faiss HNSW8", many["servers"][0]["url"], "planned with the model's time"):
        assert text in " ".join(out.split()), text
    assert "edge" not in out


def test_indexes_of_that_size_are_built_on_request(run: Program, photo_folder: Path, tmp_path: Path) -> None:
    stores = ("--store", "faiss:.?index=Flat", "--store", "edge:.")
    code, out, err = run("3K", "--dimension", 32, "--data", photo_folder, *stores, "--build", "--json", tmp_path / "p")
    assert code == 0, err
    result = json.loads((tmp_path / "p").read_text())
    assert [(index["name"], index["points"], index["recall"]) for index in result["built"]] == [
        ("faiss Flat", 3000, 1.0),
        ("edge", 3000, 1.0),
    ]
    assert [log["points"] for log in result["logs"]] == [3000]
    assert "Embedded index as measured" in out and "3,000, edge" in out and "Vector log as measured" in out
    assert "a recall@10 of at least 0.95" in " ".join(out.split())
    assert SUBJECT.dump(SUBJECT.load(result)) == result


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["many"], "Invalid number of images: 'many'"),
        (["0"], "Invalid number of images: '0'"),
        (["--check", "5"], "--check no longer exists"),
        (["--dimension", "8"], "--dimension"),
        (["--store", "http://localhost:6333"], "is a server and cannot be measured here"),
        (["--store", "milvus:."], "unknown store"),
        (["--store", "faiss:.?index=Nonsense"], "FAISS knows no index"),
        (["--data", "./nowhere"], "does not exist"),
        (["--model", "nothing"], "no model 'nothing'"),
        (["--json", "./no/folder/file"], "name a file in a folder"),
    ],
)
def test_misuse_is_one_line(arguments: list[str], message: str, run: Program) -> None:
    assert message in refused(run, arguments)
