"""Loading of data sets with Hugging Face `datasets`: from a file, a folder or the hub, also as a stream."""

import glob
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cbir.errors import CbirError, UsageError
from cbir.images.files import MAX_FILE_BYTES
from cbir.sources.base import SourceOptions, refuse
from cbir.text import one_line

ROWS_AT_ONCE = 64
_BUFFER_BYTES = 8 * 2**20
_ROWS_CHECKED_AT_ONCE = 1000


@dataclass(frozen=True)
class Place:
    """Where the paths in the rows of a data set may lead: into these folders, or to URLs with this beginning."""

    folders: tuple[Path, ...] = ()
    remote: str = ""


@dataclass(frozen=True)
class Loaded:
    """A data set: its name, origin and place of images, its rows, and their number if that is known."""

    name: str
    origin: str
    place: Place
    data: Any
    count: int | None


@contextmanager
def readable_errors(text: str) -> Iterator[None]:
    """Turn any error of `datasets` into one line.

    Raises:
        UsageError: There is no such data set, or it cannot be read.
        CbirError: The hub cannot be reached.
    """
    try:
        yield
    except CbirError:
        raise
    except ConnectionError as error:
        hint = "Download the data set on a machine with a network, and give its folder or .parquet file."
        raise CbirError(f"{text}: the hub cannot be reached: {error}. {hint}") from None
    except Exception as error:  # its errors have no common base class
        if isinstance(error.__cause__, CbirError):
            raise error.__cause__ from None
        raise UsageError(
            f"cannot read {text}: {type(error).__name__}: {one_line(error.__cause__ or error)[:300]}"
        ) from None


def load_split(text: str, options: SourceOptions) -> Loaded:
    """Return one split of the data set that the user named, loaded or as a stream.

    Raises:
        UsageError: There is no such file, folder or split.
        Exception: Any error of `datasets`; see `readable_errors`.
    """
    import datasets

    datasets.disable_progress_bars()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # or it would log every retry
    scheme, _, rest = text.partition(":")
    split, streaming = options.split or "train", options.streaming
    suffix = f"?split={split}" if split != "train" else ""  # two splits have different rows
    if scheme == "hf":
        repository = rest.removeprefix("//").removeprefix("datasets/")
        data = _load(repository, split, streaming)
        place = Place(remote=f"hf://datasets/{repository}@") if streaming else Place(_hub_caches())
        return Loaded(repository.rsplit("/", 1)[-1], f"hf://{repository}{suffix}", place, data, _count(data, split))
    if scheme == "imagefolder":
        path = Path(rest.removeprefix("//")).expanduser().resolve()
        if not path.is_dir():
            raise UsageError(f"{text}: {path} is not a folder")
        data = _load("imagefolder", split, streaming, data_dir=str(path))
        return Loaded(path.name, f"{path}{suffix}", Place((path,)), data, _count(data, split))
    path = Path(text).expanduser().resolve()
    if path.is_dir():
        refuse(options, ("streaming",), f"{text}: it is never downloaded or converted")
        saved = datasets.load_from_disk(str(path))
        if not isinstance(saved, datasets.DatasetDict):
            refuse(options, ("split",), f"{text}, which has no splits")
            return Loaded(path.name, str(path), Place((path,)), saved, len(saved))
        if split not in saved:
            raise UsageError(f"{text} has no split {split!r}. It has {', '.join(saved)}.")
        return Loaded(path.name, f"{path}{suffix}", Place((path,)), saved[split], len(saved[split]))
    refuse(options, ("split",), f"{text}, which has no splits")
    pattern = glob.escape(str(path)) if path.is_file() else str(path)
    files = sorted(glob.glob(pattern))  # noqa: PTH207 - the pattern is absolute
    if not files:
        raise UsageError(f"{text} does not exist")
    name = path.stem if path.is_file() else path.parent.name
    kind = path.suffix[1:].lower()
    data = _load(kind, "train", streaming, data_files=pattern)
    count = _count(data, split)
    if count is None and kind == "parquet":
        import pyarrow.dataset

        count = pyarrow.dataset.dataset(files).count_rows()  # from the footers of the files
    return Loaded(name, str(path), Place((path.parent,)), data, count)


def _check_cells(path: str) -> None:
    """Raise `UsageError` if a cell of a Parquet file is larger than an image may be: `datasets` copies it often."""
    import fsspec
    import pyarrow.parquet

    with fsspec.open(path) as data, pyarrow.parquet.ParquetFile(data) as file:
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group)
            for column in map(rows.column, range(rows.num_columns)):
                size = _large_cell(path, group, column)
                if size > MAX_FILE_BYTES:
                    raise UsageError(
                        f"{path}: a cell of {column.path_in_schema} in row group {group} has {size >> 20:,} MiB, the"
                        f" limit is {MAX_FILE_BYTES >> 20}. Remove its row."
                    )


def _large_cell(path: str, group: int, column: Any) -> int:
    """Return the size of a cell that is too large, or of a smaller one if there is none.

    Cells are read only where the column's size in the metadata leaves room for one that is too large. They are read as
    a dictionary, since a few bytes of a file may repeat a large cell in many rows.
    """
    import fsspec
    import pyarrow.compute as compute
    import pyarrow.parquet

    total, size = column.total_uncompressed_size, column.total_uncompressed_size // max(1, column.num_values)
    if total <= MAX_FILE_BYTES or size > MAX_FILE_BYTES or column.physical_type != "BYTE_ARRAY":
        return int(size)
    at_once = min(_ROWS_CHECKED_AT_ONCE, MAX_FILE_BYTES // max(1, size))
    name = [column.path_in_schema]
    reading = {"buffer_size": _BUFFER_BYTES, "read_dictionary": name}
    with fsspec.open(path) as data, pyarrow.parquet.ParquetFile(data, **reading) as file:
        cells = (_leaf(batch[0]).dictionary for batch in file.iter_batches(at_once, [group], name))
        sizes = (compute.max(compute.binary_length(values)).as_py() or 0 for values in cells)
        return next((int(size) for size in sizes if size > MAX_FILE_BYTES), int(size))


def _leaf(array: Any) -> Any:
    """Return the values at the end of the path of nested structs and lists."""
    while array.type.num_fields:
        inner = array.flatten()
        array = inner[0] if isinstance(inner, list) else inner
    return array


def _load(name: str, split: str, streaming: bool, **files: str) -> Any:
    """Return a data set, which is read while it is iterated if it is streamed, without downloading it.

    The cells of a Parquet file, which may be on the hub, are checked before it is read.
    """
    import datasets
    import pyarrow.dataset

    builder = datasets.load_dataset_builder(name, **files)
    is_parquet = hasattr(builder.config, "fragment_scan_options")
    if is_parquet:
        builder._generate_tables = partial(_checked_tables, builder._generate_tables)
    if not streaming:
        builder.download_and_prepare()
        return builder.as_dataset(split)
    if is_parquet:  # or pyarrow would keep all that it reads
        reading = {"pre_buffer": False, "use_buffered_stream": True, "buffer_size": _BUFFER_BYTES}
        builder.config.fragment_scan_options = pyarrow.dataset.ParquetFragmentScanOptions(**reading)
        builder.config.batch_size = ROWS_AT_ONCE
    return builder.as_streaming_dataset(split=split)


def _checked_tables(generate: Callable[..., Iterator[Any]], files: list[str], **rest: object) -> Iterator[Any]:
    """Yield what `datasets` reads from Parquet files, after their cells have been checked."""
    for file in files:
        _check_cells(file)
    yield from generate(files, **rest)


def _count(data: Any, split: str) -> int | None:
    """Return the number of rows of a data set, None if it is a stream that does not know it."""
    if hasattr(data, "num_rows"):
        return int(data.num_rows)
    info = (data.info.splits or {}).get(split)
    return (info.num_examples or None) if info else None


def _hub_caches() -> tuple[Path, ...]:
    """Return the folders of downloads from the hub."""
    import datasets
    import huggingface_hub.constants

    return (Path(datasets.config.HF_DATASETS_CACHE).resolve(), Path(huggingface_hub.constants.HF_HOME).resolve())
