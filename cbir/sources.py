"""Where images come from: `open_source` turns what the user typed into items, whatever it is.

./photos                     a folder tree; an image's class is its parent folder
data.parquet, 'data/*.parquet', data.arrow, a folder written by `save_to_disk`
imagefolder:./folder         the image folder of Hugging Face `datasets`, with its metadata file
hf://owner/name              a data set of the Hugging Face hub
sample://openmoji            the packaged sample
"""

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from cbir.errors import ImageError, UsageError
from cbir.images import EXTENSIONS
from cbir.records import Item, plain

MAX_FILE_BYTES = 256 * 2**20
SAVED = ("dataset_info.json", "dataset_dict.json")
"""What tells a folder that `datasets` saved."""


@dataclass(frozen=True)
class SourceOptions:
    """How to read a source.

    Attributes:
        label: Column that holds the class (data sets only).
        key: Column that holds the unique key (data sets only); found by itself where there is a usual one.
        split: Split of a data set that has splits; "train" if None.
        top_classes: Keep only the rows of this many most frequent classes.
        limit: Keep only the first so many.
    """

    label: str | None = None
    key: str | None = None
    split: str | None = None
    top_classes: int | None = None
    limit: int | None = None


@dataclass(frozen=True)
class Source:
    """Images to ingest.

    Attributes:
        name: The data set's name.
        origin: Where it lies; a collection takes its images from one origin.
        items: The images.
        total: How many, if known.
        notes: What to tell the user, licences for instance.
        complete: True if the items are all that the origin has, so that a key not among them is gone from it.
    """

    name: str
    origin: str
    items: Iterable[Item]
    total: int | None = None
    notes: list[str] = field(default_factory=list)
    complete: bool = False


def open_source(text: str, options: SourceOptions) -> Source:
    """Return the source that `text` names.

    Raises:
        UsageError: There is no such source, or it has not what the options name.
    """
    scheme, _, rest = text.partition(":")
    if scheme == "sample":
        from cbir.sample import open_sample

        refuse(options, ("label", "key", "split"), text)
        return open_sample(rest.removeprefix("//"), options)
    path = Path(text).expanduser()
    is_dataset = scheme in ("hf", "imagefolder") or path.suffix in (".parquet", ".arrow")
    if is_dataset or any((path / name).is_file() for name in SAVED):
        from cbir.datasets_source import open_dataset

        return open_dataset(text, options)
    if not path.is_dir():
        kind = "is not a folder" if path.exists() else "does not exist"
        raise UsageError(
            f"{text} {kind}; a source is a folder, a .parquet or .arrow file, imagefolder:PATH, hf://OWNER/NAME or"
            " sample://openmoji"
        )
    return _open_folder(path, options)


def refuse(options: SourceOptions, names: Iterable[str], what: str) -> None:
    """Raise `UsageError` if an option is given that this kind of source has no use for."""
    for name in names:
        if getattr(options, name) is not None:
            raise UsageError(f"--{name} means nothing for {what}")


def is_complete(options: SourceOptions) -> bool:
    """Return True if these options leave every image of a source."""
    return options.top_classes is None and options.limit is None


def select(items: list[Item], options: SourceOptions) -> list[Item]:
    """Return the items that `top_classes` and `limit` leave."""
    if options.top_classes is not None:
        kept = top_labels((item.label for item in items), options.top_classes)
        items = [item for item in items if item.label in kept]
    return items[: options.limit]


def top_labels(labels: Iterable[str | None], count: int) -> set[str]:
    """Return the `count` most frequent labels; of equally frequent ones the first in the alphabet."""
    found = Counter(label for label in labels if label is not None)
    if not found:
        raise UsageError("--top-classes needs labels, and this source has none; name their column with --label")
    return set(sorted(found, key=lambda label: (-found[label], label))[:count])


def read_file(path: Path) -> bytes:
    """Return a regular file's bytes.

    Raises:
        ImageError: It is no regular file or larger than 256 MB.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a named pipe would wait for its writer for ever
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise ImageError("not a regular file")
        if status.st_size > MAX_FILE_BYTES:
            raise ImageError(f"too large: {status.st_size / 2**20:,.0f} MiB, the limit is {MAX_FILE_BYTES >> 20}")
        return file.read()


def _open_folder(root: Path, options: SourceOptions) -> Source:
    refuse(options, ("label", "key", "split"), f"a folder ({root}), where an image's class is its parent folder")
    root = root.resolve()
    closed: list[OSError] = []
    items = [_file_item(root, path) for path in _walk(root, closed)]
    items = select([*items, *(_closed_item(root, error) for error in closed)], options)
    if not items:
        raise UsageError(f"{root} has no image file ({', '.join(sorted(EXTENSIONS))}) in it or below it")
    return Source(plain(root.name) or "root", plain(str(root)), items, len(items), complete=is_complete(options))


def _walk(root: Path, closed: list[OSError]) -> Iterator[Path]:
    """Yield the image files below `root` in a fixed order, without following links to folders or hidden names.

    The errors of folders that cannot be listed are added to `closed`.
    """
    for folder, names, files in os.walk(root, onerror=closed.append):
        names[:] = sorted(name for name in names if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in EXTENSIONS:  # noqa: PTH122
                yield Path(folder, name)


def _file_item(root: Path, path: Path) -> Item:
    relative = path.relative_to(root)
    label = relative.parent.name or None
    reader: Callable[[], bytes] = partial(read_file, path)
    return Item(relative.as_posix(), reader, label, None, _version(path))


def _closed_item(root: Path, error: OSError) -> Item:
    """Return an item for a folder that cannot be listed, so that it is counted and named among the skipped."""

    def read() -> bytes:
        raise ImageError(f"cannot list this folder: {error.strerror}")

    return Item(Path(error.filename).relative_to(root).as_posix(), read)


def _version(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:  # a link to nothing; reading it will say so
        return ""
    return f"{status.st_size}:{status.st_mtime_ns}"
