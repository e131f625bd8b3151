"""The notebook in docs runs from the first cell to the last, and shows hits as a gallery."""

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "docs" / "api.ipynb"


@pytest.fixture(scope="module")
def text() -> str:
    return NOTEBOOK.read_text(encoding="utf-8")


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A Jupyter kernel that is this interpreter, whatever the machine has installed."""
    folder = tmp_path / "jupyter" / "kernels" / "cbir-test"
    folder.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": command, "display_name": "test", "language": "python"}
    (folder / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    yield "cbir-test"


def test_it_is_short_explained_and_without_outputs(text: str) -> None:
    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) <= 12
    for before, cell in zip(notebook.cells, notebook.cells[1:], strict=False):
        assert cell.cell_type != "code" or before.cell_type == "markdown"
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    assert re.findall(r"/(?:home|Users|root|tmp|var)\b", text) == []


@pytest.mark.slow
def test_it_runs_and_shows_galleries(text: str, kernel: str, tmp_path: Path) -> None:
    notebook = nbformat.reads(text, as_version=4)
    client = NotebookClient(notebook, timeout=300, kernel_name=kernel, resources={"metadata": {"path": str(tmp_path)}})
    client.execute(env={**os.environ, "PYTHONWARNINGS": "ignore"})
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert {output.output_type for output in outputs} == {"execute_result"}  # nothing printed, no warning, no error
    shown = [output.data for output in outputs]
    galleries = [data["text/html"] for data in shown if "<figure" in data.get("text/html", "")]
    assert [gallery.count('src="data:image/jpeg;base64,') for gallery in galleries] == [5, 5]
    assert "<table" in "".join(data.get("text/html", "") for data in shown)
    plain = [data["text/plain"] for data in shown]
    assert plain[:2] == ["(60, 0)", "60"]
    assert "(2, 1, [('Smileys & Emotion', 60), ('Mine', 2)])" in plain
    assert "(1, 1, 61)" in plain
    assert "((61, 1280), (1, 1280))" in plain
