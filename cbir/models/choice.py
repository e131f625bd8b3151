"""Which file of a model is used: a packaged model has one in fp32 and perhaps one in int8."""

from collections.abc import Iterable
from pathlib import Path

from cbir.errors import UsageError
from cbir.models.card import ModelRef
from cbir.models.runtime import other_devices
from cbir.models.sealed import checksum_of, find_model, find_unchanged, packaged_files, read_sealed
from cbir.models.self_test import choose
from cbir.settings import Settings


def choose_file(
    model: str | Path, settings: Settings, existing: Iterable[ModelRef] = (), *, tested: bool = True
) -> Path:
    """Return the file of a model with the precision of the settings.

    "auto" is the precision of the first `existing` model that is the same one, or else what a self-test chooses: int8
    only where it is much faster. It is fp32 if nothing is `tested`, and for a device that the settings name, since
    int8 is made for processors. A model file has a single precision.

    Raises:
        UsageError: There is no such model, or it is not packaged with this precision.
    """
    files = _files(model, settings)
    for other in existing:
        if (path := find_unchanged(other)) in files:
            return path
    if len(files) == 1 or not tested or settings.device not in ("auto", "cpu"):
        return files[0]
    packaged = packaged_files(str(model))
    data = {precision: read_sealed(path) for precision, path in packaged.items()}
    others = other_devices() if settings.device == "auto" else ()
    return packaged[choose(data, others, settings.threads, settings.cache).precision]


def checksums(model: str | Path, settings: Settings) -> set[str]:
    """Return the checksums of the files that the model may mean; see `choose_file`."""
    return {checksum_of(read_sealed(path)) for path in _files(model, settings)}


def _files(model: str | Path, settings: Settings) -> list[Path]:
    """Return the files that the model may mean with the precision of the settings, fp32 first."""
    packaged = {} if isinstance(model, Path) else packaged_files(model)
    if not packaged:
        return [model if isinstance(model, Path) else find_model(model)]
    if settings.precision == "auto":
        return list(packaged.values())
    if settings.precision not in packaged:
        raise UsageError(f"the model {model} is packaged in {', '.join(packaged)} only, not in {settings.precision}")
    return [packaged[settings.precision]]
