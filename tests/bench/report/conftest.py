"""Kept results of real runs, and the program that makes a report of them."""

from pathlib import Path

import pytest
from cbir.bench import command

from tests.support.bench_stores import KINDS, build_kinds
from tests.support.building import both, store_options, unit_vectors
from tests.support.running import Program, run_here, runner


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory, photo_folder: Path) -> Path:
    """A folder with kept results of parity, latency, models, accuracy and baselines, each of a real run."""
    root = tmp_path_factory.mktemp("report")
    urls = both(root / "index")
    build_kinds(urls, unit_vectors(400, dimension=1280), [KINDS[row * 7 % 600] for row in range(400)])
    stores = store_options(urls)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CBIR_REPORTS", str(root / "results"))
        for words in (
            ["parity", *stores, "--queries", 20, "--images"],
            [
                "latency",
                *stores,
                "--queries",
                20,
                "--rounds",
                2,
                "--ef",
                "16,64",
                "--threads",
                "1,2",
                "--seconds",
                0.2,
            ],
            ["models", "--rounds", 2, "--batch", "1"],
            ["accuracy", photo_folder, "--limit", 60, "-k", 2],
            [
                "baselines",
                *stores,
                "--queries",
                20,
                "--rounds",
                2,
                "--baseline",
                "numpy",
                "--baseline",
                "faiss",
                "--baseline",
                "hnswlib",
            ],
        ):
            done = run_here(command.main, "cbir-bench", *words)
            assert done.returncode == 0, (words[0], done.stderr)
    return root / "results"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    return runner(monkeypatch, capsys, command.main, "cbir-bench")
