"""The structure of the code: layers, programs, no import cycles, and questions that are asked in one place."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("cbir", "export", "ingest", "ui", "serve", "bench")
LONGEST_FILE = 350


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    """Every module with the modules that it imports, those within functions and for types alone too."""
    before = list(sys.path)
    sys.path.insert(0, str(ROOT))
    try:
        graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    finally:
        sys.path[:] = before
    return {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}


def files() -> Iterator[Path]:
    for package in PACKAGES:
        yield from (ROOT / package).rglob("*.py")


def folder_of(module: str) -> str:
    """The folder of a module; what lies right in a package's root stands for itself."""
    parts = module.split(".")
    return module if len(parts) <= 2 else ".".join(parts[:-1])


def assert_no_cycle(graph: dict[str, set[str]]) -> None:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(error.args[1])}")


def test_the_layers_and_the_rule_of_the_programs_hold() -> None:
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_modules_import_each_other_in_a_circle(imports: dict[str, set[str]]) -> None:
    assert len(imports) > 200
    assert_no_cycle(imports)


def test_no_folders_import_each_other_in_a_circle(imports: dict[str, set[str]]) -> None:
    folders: dict[str, set[str]] = {}
    for module, imported in imports.items():
        here = folder_of(module)
        folders.setdefault(here, set()).update(folder_of(other) for other in imported)
        folders[here].discard(here)
    assert_no_cycle(folders)


def test_a_cycle_would_be_noticed() -> None:
    with pytest.raises(pytest.fail.Exception, match="import cycle"):
        assert_no_cycle({"a": {"b"}, "b": {"c"}, "c": {"a"}})


def test_only_two_modules_of_the_core_draw() -> None:
    for path in (ROOT / "cbir").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            drawn = {name.partition(".")[0] for name in names} & {"typer", "rich", "streamlit"}
            assert not drawn or path.name in ("terminal.py", "tables.py"), f"{path} imports {drawn}"


def test_no_file_is_long() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in files()}
    assert not {path: length for path, length in lengths.items() if length > LONGEST_FILE}


def test_nothing_is_passed_through_untyped() -> None:
    for path in files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.args.kwarg is not None:
                annotation = node.args.kwarg.annotation
                assert annotation is None or ast.unparse(annotation) != "Any", f"{path}: {node.name}"
