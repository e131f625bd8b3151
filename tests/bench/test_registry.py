"""The registry of the bench's subjects."""

from cbir.bench.command import app
from cbir.bench.registry import SUBJECTS
from typer.main import get_command


def test_each_subject_has_a_command_of_its_name() -> None:
    assert set(SUBJECTS) <= set(get_command(app).commands)  # type: ignore[attr-defined]
    assert all(name == subject.name for name, subject in SUBJECTS.items())
