"""The registry of the bench's subjects."""

from pathlib import Path

from cbir.bench.command import app
from cbir.bench.registry import SUBJECTS
from cbir.bench.report.report_writer import collect, write
from cbir.export.command import app as export
from typer.main import get_command

from cbir.evaluation.result_files import keep
from cbir.evaluation.trainings import RESULT, add_training, as_section
from cbir.tables import to_markdown
from tests.support.trainings import trained_card


def test_each_subject_has_a_command_of_its_name() -> None:
    commands = [*get_command(app).commands, *get_command(export).commands]  # type: ignore[attr-defined]
    assert set(SUBJECTS) <= set(commands), "trainings are kept by cbir-export"
    assert all(name == subject.name for name, subject in SUBJECTS.items())


def test_the_report_shows_the_curves_of_a_training(tmp_path: Path) -> None:
    result = add_training(trained_card(), tmp_path)
    content = RESULT.dump_python(result, mode="json")
    keep(content, tmp_path, ["train", "resnet18", "/home/me/photos"], as_section(result.models), "cbir-export")
    assert SUBJECTS["train"].dump(SUBJECTS["train"].load(content)) == content
    write(tmp_path / "report", "title", collect([tmp_path]))
    text = (tmp_path / "report" / "report.md").read_text()
    assert "cbir-export train resnet18 …/photos" in text
    assert "resnet18-trained finds best of the models trained on 700 images of photos: test P@5 0.9000." in text
    assert sorted(path.name for path in (tmp_path / "report" / "plots").iterdir()) == [
        "train-error.svg",
        "train-loss.svg",
    ]
    for table in SUBJECTS["train"].present(SUBJECTS["train"].load(content)).tables:
        assert all(len(line) < 160 for line in to_markdown(table).splitlines())
