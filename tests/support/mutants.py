"""Mutate the core line by line, and see whether the tests of the same module notice.

`python -m tests.support.mutants [MODULE ...]` works on a copy of the files that git tracks, and prints the share of
mutants that are killed, by module. The mutants that survive are in `build/mutants/survivors.diff`. A run that was
interrupted goes on where it ended. It needs the extra `mutants`.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "mutants"
TREE = BUILD / "tree"
PARTS = (
    "cbir/filters",
    "cbir/index",
    "cbir/stores",
    "cbir/search",
    "cbir/records.py",
    "cbir/pipeline/journal.py",
)
CONFIG = """[cosmic-ray]
module-path = {module}
timeout = {timeout:.1f}
excluded-modules = []
test-command = {command}

[cosmic-ray.distributor]
name = "local"
"""


def modules(parts: Iterable[str]) -> Iterator[str]:
    """Yield the modules among files and folders that have tests of their own."""
    for part in parts:
        path = ROOT / part
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            module = file.relative_to(ROOT).as_posix()
            if (ROOT / tests_of(module)).exists():
                yield module


def tests_of(module: str) -> str:
    """Return the path of a module's tests."""
    folder, _, name = module.rpartition("/")
    return f"{folder.replace('cbir', 'tests/core', 1)}/test_{name}"


def copy_tree() -> None:
    """Copy the tracked files: the tool changes modules where they are."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()  # noqa: S607
    shutil.rmtree(TREE, ignore_errors=True)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (TREE / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, TREE / name)


def cosmic_ray(*arguments: object) -> str:
    """Run the tool in the copy, and return what it prints."""
    command = [sys.executable, "-m", "cosmic_ray.cli", *map(str, arguments)]
    return subprocess.run(command, cwd=TREE, stdout=subprocess.PIPE, text=True, check=True).stdout


def mutate(module: str) -> list[tuple[str, str]]:
    """Return the outcome and the diff of each mutant of a module."""
    tests = ROOT / tests_of(module)
    contents = hashlib.sha256((ROOT / module).read_bytes() + tests.read_bytes()).hexdigest()  # a change starts anew
    name = f"{module.removesuffix('.py').replace('/', '.')}-{contents[:12]}"
    config, session = BUILD / f"{name}.toml", BUILD / f"{name}.sqlite"
    if not session.exists():
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", tests_of(module)]
        start = time.monotonic()
        done = subprocess.run(command, cwd=TREE, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"The tests of {module} fail without any mutant:\n{done.stdout[-2000:]}")
        timeout = 30 + 4 * (time.monotonic() - start)
        config.write_text(
            CONFIG.format(module=json.dumps(module), timeout=timeout, command=json.dumps(" ".join(command)))
        )
        cosmic_ray("init", config, session)
    cosmic_ray("exec", config, session)
    results = (json.loads(line)[1] for line in cosmic_ray("dump", session).splitlines())
    return [(result["test_outcome"], result["diff"]) for result in results if result and result["test_outcome"]]


def main(parts: Sequence[str]) -> None:
    """Mutate modules, print a line for each, and write the diffs of the survivors."""
    BUILD.mkdir(parents=True, exist_ok=True)
    copy_tree()
    survivors: list[str] = []
    killed = total = 0
    for module in modules(parts):
        outcomes = mutate(module)
        survived = [diff for outcome, diff in outcomes if outcome == "survived"]
        survivors += survived
        total += len(outcomes)
        killed += len(outcomes) - len(survived)
        share = 1 - len(survived) / max(1, len(outcomes))
        print(f"{module:45} {len(outcomes):5} mutants, {len(survived):4} survive, {share:7.1%} killed", flush=True)  # noqa: T201
        (BUILD / "survivors.diff").write_text("\n".join(survivors))
    print(f"{killed:,} of {total:,} mutants are killed: {killed / max(1, total):.1%}")  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:] or PARTS)
