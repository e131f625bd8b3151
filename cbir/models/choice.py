"""Which file of a model is used: a packaged model has one in fp32 and perhaps one in int8."""

from collections.abc import Iterable
from pathlib import Path

from cbir.errors import UsageError
from cbir.models.card import ModelRef
from cbir.models.runtime import other_devices
from cbir.models.sealed import checksum_of, find_model, packaged_files, read_sealed
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
    if isinstance(model, Path):
        return model
    files = packaged_files(model)
    if not files:
        return find_model(model)
    if settings.precision != "auto":
        if settings.precision not in files:
            raise UsageError(f"the model {model} is packaged in {', '.join(files)} only, not in {settings.precision}")
        return files[settings.precision]
    data = {precision: read_sealed(path) for precision, path in files.items()}
    by_checksum = {checksum_of(content): files[precision] for precision, content in data.items()}
    stored = (by_checksum[other.sha256] for other in existing if other.sha256 in by_checksum)
    if found := next(stored, None):
        return found
    if not tested or settings.device not in ("auto", "cpu"):
        return next(iter(files.values()))
    others = other_devices() if settings.device == "auto" else ()
    return files[choose(data, others, settings.threads, settings.cache).precision]


def checksums(model: str | Path, settings: Settings) -> set[str]:
    """Return the checksums of the files that the model may mean; see `choose_file`."""
    files = {} if isinstance(model, Path) else packaged_files(model)
    if settings.precision == "auto" and files:
        return {checksum_of(read_sealed(path)) for path in files.values()}
    return {checksum_of(read_sealed(choose_file(model, settings)))}
