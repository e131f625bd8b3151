"""The registry of the bench's subjects."""

from cbir.bench.command import app
from cbir.bench.registry import SUBJECTS
from cbir.export.command import app as export
from typer.main import get_command


def test_each_subject_has_a_command_of_its_name() -> None:
    commands = [*get_command(app).commands, *get_command(export).commands]  # type: ignore[attr-defined]
    assert set(SUBJECTS) <= set(commands), "trainings are kept by cbir-export"
    assert all(name == subject.name for name, subject in SUBJECTS.items())
