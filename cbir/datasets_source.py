"""Sources that Hugging Face `datasets` reads: Parquet, Arrow, image folders and the hub.

Images are read undecoded, so that the same JPEG gives the same vector from a folder, from Parquet and from the hub.
"""

import glob
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cbir.errors import CbirError, ImageError, UsageError
from cbir.records import Item
from cbir.sources import Source, SourceOptions, is_complete, read_file, refuse, top_labels

_ROWS_AT_ONCE = 64
_LOOKED_AT = 100
_KEY_COLUMNS = ("key", "id", "image_id", "file_name", "filename", "path")


def open_dataset(text: str, options: SourceOptions) -> Source:
    """Return the source for a data set's path or `hf://` address.

    Raises:
        UsageError: There is no such file, data set, split or column.
        CbirError: The hub cannot be reached.
    """
    import datasets

    datasets.disable_progress_bars()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # its retries would be ten lines before our one
    loaded = _load(text, options)
    data = loaded.data
    images = [column for column, kind in data.features.items() if isinstance(kind, datasets.Image)]
    if not images:
        raise UsageError(f"{text} has no image column; its columns are {', '.join(data.features)}")
    image = images[0]
    for name, column in (("label", options.label), ("key", options.key)):
        if column is not None and column not in data.features:
            raise UsageError(
                f"{text} has no column {column!r} for --{name}; its columns are {', '.join(data.features)}"
            )
    data = data.cast_column(image, datasets.Image(decode=False))
    key_column = options.key or _key_column(data, image)  # of the whole set, whatever rows are chosen below
    labels = _labels(data, options.label)
    rows = list(range(len(data)))
    if options.top_classes is not None:
        kept = top_labels(labels, options.top_classes)
        rows = [row for row in rows if labels[row] in kept]
    rows = rows[: options.limit]
    chosen = data if len(rows) == len(data) else data.select(rows)
    skip = {*images, options.label}

    def items() -> Iterator[Item]:
        numbers = iter(rows)
        for columns in chosen.iter(_ROWS_AT_ONCE):
            for values in zip(*columns.values(), strict=True):
                record, row = dict(zip(columns, values, strict=True)), next(numbers)
                picture = record[image] or {}
                key = str(record[key_column]) if key_column else _file_key(picture, loaded.folders) or f"row {row}"
                payload = {column: value for column, value in record.items() if column not in skip}
                yield Item(key, partial(_read, picture, loaded.folders), labels[row], payload)

    return Source(loaded.name, loaded.origin, _Rows(items), len(rows), complete=is_complete(options))


@dataclass(frozen=True)
class _Loaded:
    """A data set: its name, its origin, the folders that its rows' paths may lead into, and its rows."""

    name: str
    origin: str
    folders: tuple[Path, ...]
    data: Any


class _Rows:
    """An iterable that starts anew each time."""

    def __init__(self, start: Callable[[], Iterator[Item]]):
        self._start = start

    def __iter__(self) -> Iterator[Item]:
        return self._start()


def _load(text: str, options: SourceOptions) -> _Loaded:
    """Return the data set that the user named, undecoded rows of one split."""
    try:
        return _load_any(text, options)
    except CbirError:
        raise
    except ConnectionError as error:
        hint = "download the data set where there is a network and give the folder or the .parquet file"
        raise CbirError(f"{text}: the hub cannot be reached: {error}; {hint}") from None
    except Exception as error:  # a missing set, a wrong split and a broken file share no base class
        detail = " ".join(str(error.__cause__ or error).split())[:300]
        raise UsageError(f"cannot read {text}: {type(error).__name__}: {detail}") from None


def _load_any(text: str, options: SourceOptions) -> _Loaded:
    import datasets

    scheme, _, rest = text.partition(":")
    split = options.split or "train"
    suffix = f"?split={split}" if split != "train" else ""  # rows of two splits are not the same rows
    if scheme == "hf":
        repository = rest.removeprefix("//").removeprefix("datasets/")
        data = datasets.load_dataset(repository, split=split)
        return _Loaded(repository.rsplit("/", 1)[-1], f"hf://{repository}{suffix}", _hub_caches(), data)
    if scheme == "imagefolder":
        path = Path(rest.removeprefix("//")).expanduser().resolve()
        if not path.is_dir():
            raise UsageError(f"{text}: {path} is not a folder")
        data = datasets.load_dataset("imagefolder", data_dir=str(path), split=split)
        return _Loaded(path.name, f"{path}{suffix}", (path,), data)
    path = Path(text).expanduser().resolve()
    if path.is_dir():
        saved = datasets.load_from_disk(str(path))
        if not isinstance(saved, datasets.DatasetDict):
            refuse(options, ("split",), f"{text}, which has no splits")
            return _Loaded(path.name, str(path), (path,), saved)
        if split not in saved:
            raise UsageError(f"{text} has no split {split!r}; it has {', '.join(saved)}")
        return _Loaded(path.name, f"{path}{suffix}", (path,), saved[split])
    refuse(options, ("split",), f"{text}, which has no splits")
    pattern = glob.escape(str(path)) if path.is_file() else str(path)
    if not glob.glob(pattern):  # noqa: PTH207 - the pattern is absolute
        raise UsageError(f"{text} does not exist")
    name = path.stem if path.is_file() else path.parent.name
    data = datasets.load_dataset(path.suffix[1:], data_files=pattern, split="train")
    return _Loaded(name, str(path), (path.parent,), data)


def _key_column(data: Any, image: str) -> str | None:
    """Return the column with the keys, or None if the images' own file names are the keys (or there is neither)."""
    first = next((row[image] for row in data.select(range(min(len(data), _LOOKED_AT))) if row[image]), None)
    if first and first.get("path"):
        return None
    return next((name for name in _KEY_COLUMNS if name in data.features), None)


def _file_key(picture: dict[str, Any], folders: tuple[Path, ...]) -> str | None:
    """Return an image's file name as its key, with the folders that tell it from others; None if it has no name."""
    if not picture.get("path"):
        return None
    path = Path(picture["path"])
    below = next((path.relative_to(folder) for folder in folders if path.is_relative_to(folder)), None)
    if below is None:
        return path.name if path.is_absolute() else path.as_posix()
    parts = below.parts
    if "snapshots" in parts:  # of a hub repository, below the name of its revision
        parts = parts[parts.index("snapshots") + 2 :]
    return "/".join(parts)


def _labels(data: Any, column: str | None) -> list[str | None]:
    import datasets

    if column is None:
        column = next((name for name, kind in data.features.items() if isinstance(kind, datasets.ClassLabel)), None)
    if column is None:
        return [None] * len(data)
    kind, values = data.features[column], data.select_columns([column])[column]
    if isinstance(kind, datasets.ClassLabel):
        return [None if value is None or value < 0 else kind.int2str(value) for value in values]
    return [None if value is None else str(value) for value in values]


def _hub_caches() -> tuple[Path, ...]:
    """Return the folders into which the hub's libraries download."""
    import datasets
    import huggingface_hub.constants

    return (Path(datasets.config.HF_DATASETS_CACHE).resolve(), Path(huggingface_hub.constants.HF_HOME).resolve())


def _read(picture: dict[str, Any], allowed: tuple[Path, ...]) -> bytes:
    data = picture.get("bytes")
    if data is not None:
        return bytes(data)
    if not picture.get("path"):
        raise ImageError("the row has no image")
    path = Path(picture["path"]).resolve()
    if not any(path.is_relative_to(folder) for folder in allowed):
        raise ImageError("its path leads out of the data set's folder")
    return read_file(path)
