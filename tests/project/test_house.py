"""The package: programs do not import each other, start without heavy libraries, and the wheel is complete."""

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
PROGRAMS = ("export", "ingest", "ui", "serve", "bench")
COMMANDS = ("cbir-export", "cbir-ingest", "cbir-search", "cbir-ui", "cbir-serve", "cbir-bench")
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
    """Return the absolute names that a file imports. Relative imports must stay in its program."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level < len(path.relative_to(ROOT).parts), f"{path} imports from outside its program"
            if node.level == 0:
                names += [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names


@pytest.mark.parametrize("program", ["cbir", *PROGRAMS])
def test_programs_do_not_import_each_other(program: str) -> None:
    files = set((ROOT / program).rglob("*.py"))
    assert files
    entry = {ROOT / "ui" / "web" / "page.py"}  # Streamlit runs this script outside of any package
    for path in files - entry:
        for name in imports_of(path):
            first, _, rest = name.partition(".")
            assert first not in PROGRAMS, f"{path} imports {name}"
            assert first != "cbir" or rest.partition(".")[0] not in PROGRAMS, f"{path} imports {name}"


@pytest.mark.parametrize(
    "module",
    [
        "cbir",
        "cbir.export.command",
        "cbir.ingest.command",
        "cbir.ui.search_command",
        "cbir.ui.launch",
        "cbir.serve.command",
        "cbir.bench.command",
    ],
)
def test_starting_a_program_loads_no_heavy_library(module: str) -> None:
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
def test_the_wheel_is_complete_and_its_commands_start(tmp_path: Path) -> None:
    source = tmp_path / "source"  # the build leaves files in this folder
    for folder in ("cbir", *PROGRAMS):
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copyfile(ROOT / name, source / name)
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", tmp_path, source]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    expected = {
        (path.relative_to(ROOT) if program == "cbir" else Path("cbir") / path.relative_to(ROOT)).as_posix()
        for program in ("cbir", *PROGRAMS)
        for path in (ROOT / program).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in inside if ".dist-info/" not in name} == expected
    assert any(name.endswith("licenses/NOTICE") for name in inside)
    assert wheel.stat().st_size < 36e6  # of which 10 are the two packaged models, and 24 the text tower

    # An environment with the same libraries, but without the editable install of cbir.
    home = tmp_path / "venv"
    venv.create(home)
    python = home / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", wheel]
    subprocess.run(install, check=True, capture_output=True)
    site = next((home / "lib").glob("python*/site-packages"))
    libraries = [path for path in sys.path if path.endswith("site-packages")]
    (site / "libraries.pth").write_text("\n".join(libraries))
    imported = subprocess.run(
        [python, "-c", "import cbir, cbir.ingest.command; print(cbir.__file__)"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert imported.stdout.strip().startswith(str(site)), imported.stderr
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


def test_the_base_install_needs_no_torch() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    assert '"qdrant-edge-py>=0.9.0"' in text
    base = text.split("[project.optional-dependencies]")[0]
    assert "torch" not in base
