"""Sources that Hugging Face `datasets` reads: Parquet, Arrow, image folders and the hub.

Images are read undecoded, so that the same JPEG gives the same vector from a folder, from Parquet and from the hub.
"""

import logging
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from cbir.errors import CbirError, ImageError, UsageError
from cbir.records import Item
from cbir.sources import Source, SourceOptions, read_file, top_labels

_ROWS_AT_ONCE = 64
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
    name, origin, data = _load(text, options.split)
    images = [column for column, kind in data.features.items() if isinstance(kind, datasets.Image)]
    if not images:
        raise UsageError(f"{text} has no image column; its columns are {', '.join(data.features)}")
    image = images[0]
    labels = _labels(data, options.label, text)
    if options.top_classes is not None:
        kept = top_labels(labels, options.top_classes)
        rows = [row for row, label in enumerate(labels) if label in kept]
        data, labels = data.select(rows), [labels[row] for row in rows]
    else:
        rows = list(range(len(data)))
    if options.limit is not None:
        data = data.select(range(min(options.limit, len(data))))
    data = data.cast_column(image, datasets.Image(decode=False))
    key = _key_of(data, image, options, text, origin)
    allowed = _allowed_folders(origin)
    skip = {image, options.label} | {
        column for column, kind in data.features.items() if isinstance(kind, datasets.Image)
    }

    def items() -> Iterator[Item]:
        row = 0
        for columns in data.iter(_ROWS_AT_ONCE):
            for record in (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)):
                payload = {column: value for column, value in record.items() if column not in skip}
                read = partial(_read, record[image] or {}, allowed)
                yield Item(key(record, rows[row]), read, labels[row], payload)
                row += 1

    return Source(name, origin, _Rows(items), len(data))


class _Rows:
    """An iterable that starts anew each time."""

    def __init__(self, start: Callable[[], Iterator[Item]]):
        self._start = start

    def __iter__(self) -> Iterator[Item]:
        return self._start()


def _load(text: str, split: str) -> tuple[str, str, Any]:
    """Return (name, origin, data set) for what the user typed."""
    import datasets

    scheme, _, rest = text.partition(":")
    try:
        if scheme == "hf":
            repository = rest.removeprefix("//").removeprefix("datasets/")
            return (
                repository.rsplit("/", 1)[-1],
                f"hf://{repository}",
                datasets.load_dataset(repository, split=split),
            )
        if scheme == "imagefolder":
            path = Path(rest.removeprefix("//")).expanduser().resolve()
            if not path.is_dir():
                raise UsageError(f"{text}: {path} is not a folder")
            return path.name, str(path), datasets.load_dataset("imagefolder", data_dir=str(path), split=split)
        path = Path(text).expanduser().absolute()
        if path.is_dir():
            loaded = datasets.load_from_disk(str(path))
            return path.name, str(path), loaded[split] if isinstance(loaded, datasets.DatasetDict) else loaded
        if not any(path.parent.glob(path.name)):
            raise UsageError(f"{text} does not exist")
        name = path.stem if path.is_file() else path.parent.name
        return name, str(path), datasets.load_dataset(path.suffix[1:], data_files=str(path), split="train")
    except CbirError:
        raise
    except ConnectionError as error:
        hint = "download the data set where there is a network and give the folder or the .parquet file"
        raise CbirError(f"{text}: the hub cannot be reached: {error}; {hint}") from None
    except Exception as error:  # a missing set, a wrong split and a broken file share no base class
        known = type(error).__name__
        detail = " ".join(str(error.__cause__ or error).split())[:300]
        raise UsageError(f"cannot read {text} (split {split}): {known}: {detail}") from None


def _labels(data: Any, column: str | None, text: str) -> list[str | None]:
    import datasets

    if column is None:
        column = next((name for name, kind in data.features.items() if isinstance(kind, datasets.ClassLabel)), None)
    if column is None:
        return [None] * len(data)
    if column not in data.features:
        raise UsageError(f"{text} has no column {column!r} for --label; its columns are {', '.join(data.features)}")
    kind, values = data.features[column], data.select_columns([column])[column]
    if isinstance(kind, datasets.ClassLabel):
        return [None if value is None or value < 0 else kind.int2str(value) for value in values]
    return [None if value is None else str(value) for value in values]


def _key_of(
    data: Any, image: str, options: SourceOptions, text: str, origin: str
) -> Callable[[dict[str, Any], int], str]:
    """Return the function from (record, row) to key: the column asked for, else the file's name, else the row."""
    column = options.key
    if column is not None and column not in data.features:
        raise UsageError(f"{text} has no column {column!r} for --key; its columns are {', '.join(data.features)}")
    if column is None and len(data) and not (data[0][image] or {}).get("path"):
        column = next((name for name in _KEY_COLUMNS if name in data.features), None)

    def key(record: dict[str, Any], row: int) -> str:
        if column is not None:
            return str(record[column])
        path = (record[image] or {}).get("path")
        if not path:
            return f"row {row}"
        below = Path(path).is_relative_to(origin)
        return Path(path).relative_to(origin).as_posix() if below else Path(path).name

    return key


def _allowed_folders(origin: str) -> tuple[Path, ...]:
    """Return the folders that a row's path may point into: the set's own, or the caches of the hub's libraries."""
    if not origin.startswith("hf://"):
        return (Path(origin),)
    import datasets
    import huggingface_hub.constants

    return (
        Path(datasets.config.HF_DATASETS_CACHE).resolve(),
        Path(huggingface_hub.constants.HF_HOME).resolve(),
    )


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
