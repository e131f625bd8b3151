"""Nothing lost, nothing twice, no strangers, whenever an ingest is killed; `--soak` kills 300 times."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cbir.pipeline.workers import LOOK_AHEAD
from cbir.records import Point
from tests.support.building import both
from tests.support.killing import PHASES, Trial, contents, kill_until, require_same
from tests.support.qdrant_server import ROOT, qdrant_server

IMAGES = 40
WORKERS, BATCH = 2, 4
MOST_AGAIN = WORKERS * (1 + LOOK_AHEAD) * BATCH
"""Images that may be embedded and not stored yet: all that the pipeline holds."""


@pytest.fixture(scope="module")
def few(photo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 40 images."""
    root = tmp_path_factory.mktemp("killed") / "photos"
    for path in sorted(photo_folder.rglob("*.png"))[::7][:IMAGES]:
        target = root / path.relative_to(photo_folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return root


def arguments(few: Path, stores: list[str], collection: str = "killed") -> list[str]:
    places = [word for store in stores for word in ("--store", store)]
    options = ["--collection", collection, "--workers", str(WORKERS), "--batch-size", str(BATCH)]
    return [str(few), *places, *options]


@pytest.fixture(scope="module")
def undisturbed(few: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Point]:
    root = tmp_path_factory.mktemp("undisturbed") / "index"
    command = [sys.executable, "-m", "cbir.ingest.command", *arguments(few, both(root))]
    subprocess.run(command, check=True, capture_output=True)
    found = contents(f"edge:{root}", "killed")
    assert len(found) == IMAGES
    return found


def embedded_trial(few: Path, folder: Path, **how: Any) -> Callable[[int], Trial]:
    """Trials that write to Edge and FAISS, each series into an index folder of its own."""
    return lambda number: Trial(arguments(few, both(folder / f"index{number}")), folder / f"trial{number}", **how)


def same_as(undisturbed: dict[str, Point]) -> Callable[[Trial], None]:
    """A check of every store that a trial wrote to."""

    def check(trial: Trial) -> None:
        collection = trial.arguments[trial.arguments.index("--collection") + 1]
        for at, word in enumerate(trial.arguments):
            if word == "--store":
                require_same(trial.arguments[at + 1], collection, undisturbed)

    return check


@pytest.mark.slow
def test_an_ingest_that_is_killed_anywhere_ends_as_an_undisturbed_one(
    few: Path, undisturbed: dict[str, Point], tmp_path: Path, soak: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was stored is never embedded again; for a kill only what was in the pipeline is."""
    report = kill_until(
        kills=190 if soak else 13,
        trial=embedded_trial(few, tmp_path),
        check=same_as(undisturbed),
        images=IMAGES,
        seed=0,
        most_again=MOST_AGAIN,
    )
    with capsys.disabled():
        print(f"\n{json.dumps({'kills': report.kills, 'embedded again': report.embedded_again})}")  # noqa: T201
    assert len(report.kills) == 6, "a phase was never hit"


@pytest.mark.slow
def test_a_power_cut_anywhere_ends_as_an_undisturbed_run(
    few: Path, undisturbed: dict[str, Point], tmp_path: Path, soak: bool
) -> None:
    """As a kill, and what was not flushed to the disk is gone, in the middle of a frame perhaps."""
    report = kill_until(
        kills=80 if soak else 4,
        trial=embedded_trial(few, tmp_path, power_cut=True),
        check=same_as(undisturbed),
        images=IMAGES,
        seed=1,
        most_again=None,
    )
    assert report.count >= 4


@pytest.mark.slow
def test_an_ingest_to_a_server_that_is_killed_ends_as_an_undisturbed_one(
    few: Path, undisturbed: dict[str, Point], tmp_path: Path, soak: bool
) -> None:
    with qdrant_server() as server:

        def trial(number: int) -> Trial:
            collection = f"killed{number}"
            return Trial(arguments(few, [server.url], collection), tmp_path / f"trial{number}", engines=0)

        report = kill_until(
            kills=30 if soak else 3,
            trial=trial,
            check=same_as(undisturbed),
            images=IMAGES,
            seed=3,
            most_again=MOST_AGAIN,
            among=[phase for phase in PHASES if phase != "optimise"],
        )
    assert report.count >= 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bug", "phase", "found"),
    [
        ("journal ahead", "upsert", "lost|never embedded"),
        ("random ids", "embed", "lost|strangers"),
        ("kept in memory", "flush", "embedded again"),
    ],
)
def test_the_harness_finds_a_planted_bug(
    few: Path, undisturbed: dict[str, Point], tmp_path: Path, bug: str, phase: str, found: str
) -> None:
    with pytest.raises(AssertionError, match=found):
        kill_until(
            kills=12,
            trial=embedded_trial(few, tmp_path, bug=bug),
            check=same_as(undisturbed),
            images=IMAGES,
            seed=2,
            most_again=MOST_AGAIN,
            among=(phase,),
        )


def test_what_an_upsert_acknowledged_outlives_fifty_kills(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.support.killed_upsert", str(tmp_path / "index"), "50", "7"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    acknowledged, lost, wrong = map(int, done.stdout.split())
    assert 500 < acknowledged < 10_000, "the process stored too little to speak of, or was not killed while storing"
    assert (lost, wrong) == (0, 0)
