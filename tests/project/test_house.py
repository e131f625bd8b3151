"""The house: no room imports a room, starting is light, and the wheel holds what the folders hold."""

import ast
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("export", "ingest", "ui", "bench")
COMMANDS = ("cbir-export", "cbir-ingest", "cbir-search", "cbir-ui", "cbir-bench")
HEAVY = (
    "torch",
    "numpy",
    "onnxruntime",
    "faiss",
    "qdrant_client",
    "qdrant_edge",
    "datasets",
    "streamlit",
    "PIL",
    "pandas",
)


def imports_of(path: Path) -> list[str]:
    """Absolute names that a file imports; relative ones must stay in its room."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level < len(path.relative_to(ROOT).parts), f"{path} imports from outside its room"
            if node.level == 0:
                found += [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found


@pytest.mark.parametrize("room", ["cbir", *ROOMS])
def test_no_room_imports_a_room(room: str) -> None:
    files = set((ROOT / room).rglob("*.py"))
    assert files
    entry = {ROOT / "ui" / "web" / "page.py"}  # a script that Streamlit runs outside of any package
    for path in files - entry:
        for name in imports_of(path):
            first, _, rest = name.partition(".")
            assert first not in ROOMS, f"{path} imports {name}"
            assert first != "cbir" or rest.partition(".")[0] not in ROOMS, f"{path} imports {name}"


@pytest.mark.parametrize(
    "module",
    [
        "cbir",
        "cbir.export.command",
        "cbir.ingest.command",
        "cbir.ui.search_command",
        "cbir.ui.launch",
        "cbir.bench.command",
    ],
)
def test_starting_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_every_command_has_help() -> None:
    for command in COMMANDS:
        path = Path(sysconfig.get_path("scripts")) / command
        done = subprocess.run([path, "--help"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "Usage" in done.stdout


@pytest.mark.slow
def test_the_wheel_holds_what_the_folders_hold_and_its_commands_start(tmp_path: Path) -> None:
    source = tmp_path / "source"  # building leaves files in the folder it builds from
    for folder in ("cbir", *ROOMS):
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copyfile(ROOT / name, source / name)
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", tmp_path, source]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    expected = {
        (path.relative_to(ROOT) if room == "cbir" else Path("cbir") / path.relative_to(ROOT)).as_posix()
        for room in ("cbir", *ROOMS)
        for path in (ROOT / room).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in inside if ".dist-info/" not in name} == expected
    assert any(name.endswith("licenses/NOTICE") for name in inside)
    assert wheel.stat().st_size < 9e6

    # An empty environment that sees this one's libraries, but not its editable install of cbir.
    home = tmp_path / "venv"
    venv.create(home)
    python = home / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", wheel]
    subprocess.run(install, check=True, capture_output=True)
    site = next((home / "lib").glob("python*/site-packages"))
    libraries = [path for path in sys.path if path.endswith("site-packages")]
    (site / "libraries.pth").write_text("\n".join(libraries))
    where = subprocess.run(
        [python, "-c", "import cbir, cbir.ingest.command; print(cbir.__file__)"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert where.stdout.strip().startswith(str(site)), where.stderr
    for command in COMMANDS:
        done = subprocess.run([home / "bin" / command, "--help"], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    (tmp_path / "photos").mkdir()
    from PIL import Image

    Image.new("RGB", (50, 50), "red").save(tmp_path / "photos" / "red.png")
    for call in (["cbir-ingest", "photos"], ["cbir-search", "photos/red.png", "-k", "1", "--json"]):
        done = subprocess.run([home / "bin" / call[0], *call[1:]], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert '"red.png"' in done.stdout


def test_the_rules_of_the_project_are_declared() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    assert '"qdrant-edge-py>=0.9.0"' in text
    base = text.split("[project.optional-dependencies]")[0]
    assert "torch" not in base
