"""Options that several commands share."""

from pathlib import Path

import pytest
from cbir.export.options import check_output, needs_export

from cbir.errors import UsageError


def test_a_missing_package_is_named_with_its_extra() -> None:
    def command() -> None:
        import no_such_package  # noqa: F401

    with pytest.raises(UsageError, match=r"needs the package no_such_package. .* pip install 'cbir\[export\]'"):
        needs_export(command)()


def test_a_model_file_is_written_to_a_folder_under_its_suffix(tmp_path: Path) -> None:
    check_output(tmp_path / "model.onnx")
    (tmp_path / "folder.onnx").mkdir()
    for name, message in {
        "model.bin": "must end in .onnx",
        "missing/model.onnx": "its folder does not exist",
        "folder.onnx": "it is a folder itself",
    }.items():
        with pytest.raises(UsageError, match=message):
            check_output(tmp_path / name)
