"""Tests are where one looks for them: `cbir/stores/url.py` is tested by `tests/core/stores/test_url.py`."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("cbir", "ingest", "export", "ui", "serve", "bench")
MOST_WITHOUT = 20
MOST_LINES = 60
"""Of a module that needs no test file: it is a table or a few lines that the tests of its users run."""


def modules() -> list[Path]:
    """Return all modules, by their path in the repository."""
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S607
    paths = [Path(line) for line in listed.stdout.splitlines()]
    return [
        path for path in paths if path.parts[0] in PACKAGES and path.name != "__init__.py" and (ROOT / path).exists()
    ]


def place_of_tests(module: Path) -> Path:
    """Return where a module's tests are."""
    package = "core" if module.parts[0] == "cbir" else module.parts[0]
    return Path("tests", package, *module.parts[1:-1], f"test_{module.name}")


def test_each_module_has_a_test_file_of_its_name() -> None:
    without = [module for module in modules() if not (ROOT / place_of_tests(module)).exists()]
    assert len(without) <= MOST_WITHOUT, without
    assert not [module for module in without if len((ROOT / module).read_text().splitlines()) > MOST_LINES]


def test_each_test_file_tests_something() -> None:
    found = [ROOT / place_of_tests(module) for module in modules()]
    assert not [path for path in found if path.exists() and "\ndef test_" not in path.read_text()]
