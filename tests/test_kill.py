"""Nothing lost, nothing twice, no strangers, whenever an ingest is killed; `--soak` kills 300 times."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .killing import Trial, contents, kill_until, require_same

PICTURES = 40
WORKERS, BATCH = 2, 4


@pytest.fixture(scope="module")
def few(photo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 40 pictures."""
    root = tmp_path_factory.mktemp("killed") / "photos"
    for path in sorted(photo_folder.rglob("*.png"))[::7][:PICTURES]:
        target = root / path.relative_to(photo_folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return root


def arguments(few: Path, root: Path, *more: str) -> list[str]:
    options = ["--workers", str(WORKERS), "--batch-size", str(BATCH), *more]
    return [str(few), "--store", f"edge:{root}", "--store", f"faiss:{root}/faiss", *options]


@pytest.fixture(scope="module")
def undisturbed(few: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    root = tmp_path_factory.mktemp("undisturbed") / "index"
    command = [sys.executable, "-m", "cbir.ingest.command", *arguments(few, root)]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": ""})
    found = contents(f"edge:{root}")
    assert len(found) == PICTURES
    return found


def check_both(undisturbed: dict) -> object:
    def check(trial: Trial) -> None:
        for kind in ("--store",):
            for at, one in enumerate(trial.arguments):
                if one == kind:
                    require_same(trial.arguments[at + 1], undisturbed)

    return check


@pytest.mark.slow
def test_an_ingest_that_is_killed_anywhere_ends_as_an_undisturbed_one(
    few: Path, undisturbed: dict, tmp_path: Path, soak: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """At most one batch of each worker is embedded again for a kill."""
    report = kill_until(
        kills=200 if soak else 14,
        trial=lambda number: Trial(arguments(few, tmp_path / f"index{number}"), tmp_path / f"trial{number}"),
        check=check_both(undisturbed),
        pictures=PICTURES,
        seed=0,
        most_again=WORKERS * BATCH,
    )
    with capsys.disabled():
        print(f"\n{json.dumps({'kills': report.kills, 'embedded again': report.embedded_again})}")  # noqa: T201
    assert len(report.kills) == 6, "a phase was never hit"


@pytest.mark.slow
def test_a_power_cut_anywhere_ends_as_an_undisturbed_run(
    few: Path, undisturbed: dict, tmp_path: Path, soak: bool
) -> None:
    """As a kill, and what was not flushed to the disk is gone, in the middle of a frame perhaps."""
    report = kill_until(
        kills=100 if soak else 6,
        trial=lambda number: Trial(
            arguments(few, tmp_path / f"index{number}"), tmp_path / f"trial{number}", power_cut=True
        ),
        check=check_both(undisturbed),
        pictures=PICTURES,
        seed=1,
        most_again=None,
    )
    assert report.count >= 6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bug", "found"),
    [("journal ahead", "lost|never embedded"), ("random ids", "lost|strangers"), ("kept in memory", "embedded again")],
)
def test_the_harness_finds_a_planted_bug(few: Path, undisturbed: dict, tmp_path: Path, bug: str, found: str) -> None:
    def trial(number: int) -> Trial:
        return Trial(arguments(few, tmp_path / f"index{number}"), tmp_path / f"trial{number}", bug)

    with pytest.raises(AssertionError, match=found):
        kill_until(12, trial, check_both(undisturbed), PICTURES, seed=2, most_again=WORKERS * BATCH)
