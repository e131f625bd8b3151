"""Run `cbir-export` in this process, and read and change what it writes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cbir.models.sealed import BLANK_CHECKSUM, CHECKSUM_FIELD, seal

TINY = "timm:test_vit.r160_in1k"
"""A backbone of timm for tests, which is built in seconds with random weights."""


def export(*arguments: object) -> None:
    """Run `cbir-export` in this process."""
    from cbir.export.command import app

    app([str(argument) for argument in arguments], standalone_mode=False)


def read_record(model: Path) -> dict[str, Any]:
    """Return the parity record next to a model file."""
    record: dict[str, Any] = json.loads(model.with_suffix(".parity.json").read_text())
    return record


def reseal(model: Path, target: Path, change: Callable[[Any], None]) -> Path:
    """Write a model file with a change to its graph or card, and with a valid checksum."""
    import onnx

    loaded = onnx.load(model)
    change(loaded)
    fields = {field.key: field for field in loaded.metadata_props}
    fields[CHECKSUM_FIELD].value = BLANK_CHECKSUM
    target.write_bytes(seal(loaded.SerializeToString(deterministic=True)))
    return target
