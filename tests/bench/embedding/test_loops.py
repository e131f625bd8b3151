"""The bounds of an ingest."""

from pathlib import Path

import pytest
from cbir.bench.embedding.loops import run


@pytest.mark.parametrize("decode", [False, True])
def test_a_loop_counts_whole_batches(decode: bool, folder: Path, model_file: Path, tmp_path: Path) -> None:
    for path in sorted(folder.glob("*.png"))[:6]:
        if path.stem != "broken":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    settings = {"workers": 1, "threads": 1, "batch_size": 2, "provider": "cpu"}
    found = run({**settings, "model": model_file, "images": tmp_path, "decode": decode, "seconds": 0.1})
    assert found["images"] >= 2
    assert found["seconds"] >= 0.1 and found["core_seconds"] > 0
