"""Sources that Hugging Face `datasets` reads: Parquet, Arrow, image folders and the hub.

Images are read undecoded, so that a JPEG gives the same vector from a folder, from Parquet and from the hub. Rows are
read as Arrow tables; the thread that reads an image copies it out of its table.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cbir.errors import CbirError, ImageError, UsageError
from cbir.filters.parser import Condition
from cbir.images.files import read_file
from cbir.records import LABEL, Item
from cbir.sources.base import Source, SourceOptions, check_columns, choose, file_token, refuse, row_conditions
from cbir.sources.bucket import open_files, read_remote
from cbir.sources.hf_loading import ROWS_AT_ONCE, Loaded, Place, load_split, readable_errors

_LOOKED_AT = 100
_BYTES = ("binary", "large_binary")
_KEY_COLUMNS = ("key", "id", "image_id", "file_name", "filename", "path")


def open_dataset(text: str, options: SourceOptions) -> Source:
    """Return the source for a data set's path or `hf://` address.

    Raises:
        UsageError: There is no such file, data set, split or column.
        CbirError: The hub cannot be reached.
    """
    refuse(options, ("allow_private_addresses",), f"{text}, a data set")
    with readable_errors(text):
        loaded = load_split(text, options)
        rows = _rows(text, loaded, options)
        countable = None if options.streaming else replace(rows, payload=())  # the same items, faster
        return choose(Source(loaded.name, loaded.origin, rows, loaded.count, complete=True), options, countable)


@dataclass(frozen=True)
class _ImageReader:
    """Reads the image of a row, a `pyarrow.StructScalar` of bytes and path in its table."""

    value: Any
    place: Place

    @property
    def path(self) -> str | None:
        """The path of the image; only its file name if the row has its bytes."""
        path: str | None = self.value["path"].as_py() if self.value.is_valid else None
        return path

    def token(self) -> str:
        """Return a text that changes with the file, "" if the row has the bytes: they are hashed as quickly."""
        in_row = not self.value.is_valid or self.value["bytes"].is_valid
        if in_row or not self.path:
            return ""
        return self.path if self.place.remote else file_token(self.path)  # the paths of the hub contain the revision

    def __call__(self) -> bytes:
        found = self.value.as_py() or {}
        data, path = found.get("bytes"), found.get("path")
        if data is not None:
            return bytes(data)
        if not path:
            raise ImageError("the row has no image")
        if self.place.remote and path.rpartition("::")[2].startswith(self.place.remote):
            if "::" in path and not path.startswith("zip://"):
                raise ImageError("its path leads out of the data set")
            try:
                files, inner = open_files(path, "it")
            except CbirError as error:
                raise ImageError(str(error)) from None
            return read_remote(files, inner)
        try:
            real = Path(path).resolve()
        except ValueError:
            raise ImageError("its path is not a valid file name") from None
        if not any(real.is_relative_to(folder) for folder in self.place.folders):
            raise ImageError("its path leads out of the data set's folder")
        return read_file(real)


@dataclass(frozen=True)
class _Rows:
    """The rows of a data set, which is formatted as Arrow tables, as items that are made again in each iteration.

    `image`, `key`, `label` and `payload` are columns. If `key` is None, the names of the images are the keys.
    """

    data: Any
    image: str
    key: str | None
    label: str | None
    payload: tuple[str, ...]
    conditions: tuple[Condition, ...]
    place: Place

    def __iter__(self) -> Iterator[Item]:
        tested = [condition.column for condition in self.conditions]
        columns = list(dict.fromkeys(name for name in (self.key, self.label, *tested, *self.payload) if name))
        kinds = self.data.features  # the property makes a deep copy
        number = -1
        for table in self.data.iter(ROWS_AT_ONCE):
            for value, row in zip(table[self.image], table.select(columns).to_pylist(), strict=True):
                number += 1
                tested_values = {name: _shown(kinds[name], row[name]) for name in tested}
                if not all(condition.holds(tested_values) for condition in self.conditions):
                    continue
                image = _ImageReader(value, self.place)
                key = str(row[self.key]) if self.key else _file_key(image.path, self.place) or f"row {number}"
                label = _shown(kinds[self.label], row[self.label]) if self.label else None
                payload = {name: row[name] for name in self.payload}
                yield Item(key, image, None if label is None else str(label), payload)


def _shown(kind: Any, value: Any) -> Any:
    """Return a value, or the name of a class instead of its number."""
    if not hasattr(kind, "int2str"):
        return value
    return None if value is None or value < 0 else kind.int2str(value)


def _rows(text: str, loaded: Loaded, options: SourceOptions) -> _Rows:
    """Return the rows of the data set with their columns, which are named in the options or found.

    Raises:
        UsageError: There is no image column, or not a column that the options name.
    """
    import datasets

    data = loaded.data if loaded.data.features is not None else loaded.data._resolve_features()
    features = data.features
    images = [name for name, kind in features.items() if isinstance(kind, datasets.Image)]
    images = images or [name for name, kind in features.items() if _may_be_images(kind)]
    if not images:
        raise UsageError(f"{text} has no image column. Its columns are {', '.join(features)}.")
    check_columns(options, features, text)
    conditions = row_conditions(options)
    readable = [name for name, kind in features.items() if not _is_bytes(kind)]
    for name in (options.label, options.key, *(options.payload or ()), *(condition.column for condition in conditions)):
        if name is not None and name not in readable:
            raise UsageError(f"{text}: {name!r} holds bytes. Columns with values are {', '.join(readable)}.")
    data = data.cast_column(images[0], datasets.Image(decode=False)).with_format("arrow")
    classes = [name for name, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    usual = LABEL in readable and not classes and isinstance(features[LABEL], datasets.Value)  # no list or struct
    label = options.label or (LABEL if usual else None)
    payload = tuple(name for name in readable if name != label) if options.payload is None else options.payload
    key = options.key or _key_column(data, images[0])
    return _Rows(data, images[0], key, label or next(iter(classes), None), payload, conditions, loaded.place)


def _may_be_images(kind: Any) -> bool:
    """Return True for a column of plain Arrow that can hold image files: bytes, or a struct of bytes and path."""
    kind = kind.get("bytes") if isinstance(kind, dict) and kind.keys() == {"bytes", "path"} else kind
    return getattr(kind, "dtype", None) in _BYTES


def _is_bytes(kind: Any) -> bool:
    """Return True for a column of images, sounds, videos or plain bytes."""
    return hasattr(kind, "decode_example") or _may_be_images(kind)


def _key_column(data: Any, image: str) -> str | None:
    """Return the column with the keys, None if the images have file names or there is no such column."""
    table = next(iter(data.iter(_LOOKED_AT)), None)
    first = next((value for value in table[image] if value.is_valid), None) if table is not None else None
    if first is not None and first["path"].as_py():
        return None
    return next((name for name in _KEY_COLUMNS if name in data.features), None)


def _file_key(path: str | None, place: Place) -> str | None:
    """Return the file name of an image with its folders in the data set, None if it has no name."""
    if not path:
        return None
    inner, _, outer = path.rpartition("::")  # zip://NAME::ARCHIVE
    if place.remote and outer.startswith(place.remote):
        name = outer.removeprefix(place.remote).partition("/")[2]  # without the revision
        return f"{name}/{inner.removeprefix('zip://')}" if inner else name
    file = Path(path)
    below = next((file.relative_to(folder) for folder in place.folders if file.is_relative_to(folder)), None)
    if below is None:
        return file.name if file.is_absolute() else file.as_posix()
    parts = below.parts
    if "snapshots" in parts:  # of a hub repository, followed by the revision
        parts = parts[parts.index("snapshots") + 2 :]
    return "/".join(parts)
