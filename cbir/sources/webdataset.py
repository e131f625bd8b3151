"""WebDataset shards: tar files in which the files of a sample are adjacent and share their name up to a dot.

`datasets` reads such shards too, but guesses one schema from the first five samples, and fails on a .png among .jpg, on
a new field or on one broken .json. Here every sample is read by itself. A local tar is not unpacked: an item knows the
position of its image and reads only that part.
"""

import glob
import tarfile
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any, cast

from cbir.errors import CbirError, UsageError
from cbir.images.decode import EXTENSIONS
from cbir.images.files import MAX_FILE_BYTES
from cbir.records import LABEL, Item, to_plain
from cbir.sources.base import (
    Items,
    Source,
    SourceOptions,
    check_columns,
    choose,
    file_token,
    refuse,
    row_conditions,
    unusable,
    with_version,
)
from cbir.sources.bucket import open_files, remote_token
from cbir.sources.table_rows import parse_json
from cbir.text import without_login

_LOOKED_AT = 100
_MAX_TEXT = 4 * 2**20
_TEXT = ("txt", "text", "cls")


@dataclass(frozen=True, slots=True)
class Shard:
    """One tar file. `token` changes with its content; `files` is its fsspec file system, None for a local file."""

    path: str
    token: str
    files: Any = None

    def open(self) -> IO[bytes]:
        """Return the opened file."""
        file: IO[bytes] = self.files.open(self.path, "rb") if self.files else Path(self.path).open("rb")  # noqa: SIM115
        return file


@dataclass
class Sample:
    """The files of one name: fields from .json, .txt and .cls, and an image.

    `error` is the reason if the fields cannot be read, `image` the name of the image in the tar ("" if there is none),
    and `version` that of the image alone.
    """

    name: str
    values: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    image: str = ""
    read: Callable[[], bytes] | None = None
    version: str = ""


def open_webdataset(text: str, options: SourceOptions) -> Source:
    """Return the source for the shards of `webdataset:PATTERN` or a .tar path. Their total is unknown.

    Raises:
        UsageError: There is no such file, no image in its first samples, or no column that the options name.
        CbirError: A shard cannot be read.
    """
    pattern = text.removeprefix("webdataset:")
    shown = without_login(text)
    refuse(options, ("split", "allow_private_addresses"), f"WebDataset shards ({shown})")
    shards = _shards(pattern, shown)
    first = _first(shards)
    if not any(sample.image for sample in first):
        raise UsageError(f"{shown} has no image in its first {len(first)} samples")
    check_columns(options, list(dict.fromkeys(name for sample in first for name in sample.values)), shown)
    conditions = row_conditions(options)

    def items() -> Iterator[Item]:
        for sample in _samples(shards):
            if sample.error or all(condition.holds(sample.values) for condition in conditions):
                yield _item(sample, options)

    parent, _, last = (pattern if "://" in pattern else str(Path(pattern).expanduser().resolve())).rpartition("/")
    name = parent.rpartition("/")[2] if glob.has_magic(last) else last.removesuffix(".tar")
    origin = to_plain(without_login(f"{parent}/{last}"))
    return choose(Source(to_plain(name) or "shards", origin, Items(items), complete=True), options, None)


def _first(shards: Sequence[Shard]) -> list[Sample]:
    """Return the first samples, or those before the damage in a shard."""
    first: list[Sample] = []
    with closing(_samples(shards)) as samples:
        try:
            for sample in islice(samples, _LOOKED_AT):
                first.append(sample)
        except CbirError:
            if not first:
                raise
    return first


def _shards(pattern: str, shown: str) -> list[Shard]:
    if "://" in pattern:
        files, path = open_files(pattern, shown)
        found = [Shard(name, remote_token(info), files) for name, info in sorted(files.glob(path, detail=True).items())]
    else:
        path = str(Path(pattern).expanduser().resolve())
        names = [path] if Path(path).is_file() else sorted(glob.glob(path))  # noqa: PTH207 - the pattern is absolute
        found = [Shard(name, file_token(name)) for name in names if Path(name).is_file()]
    if not found:
        raise UsageError(f"{shown} does not exist")
    return found


def _item(sample: Sample, options: SourceOptions) -> Item:
    values = sample.values
    label = options.label or next((name for name in ("cls", LABEL) if name in values), None)
    key = values.get(options.key) if options.key else sample.image
    error = sample.error or ("" if sample.image else "the sample has no image")
    if not error and key in (None, ""):
        error = f"the sample has no {options.key}, which is its key"
    if error or sample.read is None:
        return Item(str(key or sample.name), partial(unusable, error))
    names = options.payload if options.payload is not None else [name for name in values if name != label]
    payload = {name: values.get(name) for name in names}
    found = values.get(label) if label else None
    item = Item(str(key), sample.read, None if found in (None, "") else str(found), payload)
    return with_version(item, sample.version)


def _samples(shards: Sequence[Shard]) -> Generator[Sample, None, None]:
    """Yield the samples of all shards.

    Raises:
        CbirError: A shard is damaged. Its samples before that have been yielded.
    """
    for shard in shards:
        sample: Sample | None = None
        try:
            for name, suffix, place, member, tar in _members(shard):
                if sample is None or sample.name != name:
                    if sample is not None:
                        yield sample
                    sample = Sample(name)
                _add(sample, suffix, place, member, tar, shard)
        except (tarfile.TarError, OSError, EOFError, ValueError, OverflowError) as error:  # a size may be any number
            raise CbirError(f"{to_plain(shard.path)} is damaged or cannot be read: {error}") from None
        if sample is not None:
            yield sample


def _members(shard: Shard) -> Iterator[tuple[str, str, str, tarfile.TarInfo, tarfile.TarFile]]:
    """Yield the files of a shard: the sample's name, the suffix, the full name, and the member of the tar."""
    with shard.open() as file, tarfile.open(fileobj=file, mode="r:") as tar:
        before = -1
        while (member := tar.next()) is not None:
            if tar.offset <= before:
                raise tarfile.ReadError("it has a loop")
            before = tar.offset
            cast(Any, tar).members.clear()  # or tarfile would keep all of them in memory
            place = member.name.removeprefix("./")
            folder, slash, base = place.rpartition("/")
            stem, dot, suffix = base.partition(".")
            if member.isreg() and not member.issparse() and stem and dot:
                yield f"{folder}{slash}{stem}", suffix.lower(), place, member, tar
        file.seek(tar.offset)
        if any(file.read(tarfile.BLOCKSIZE)):  # tarfile ends silently at a broken header
            raise tarfile.ReadError(f"no header at byte {tar.offset:,}")


def _add(sample: Sample, suffix: str, place: str, member: tarfile.TarInfo, tar: tarfile.TarFile, shard: Shard) -> None:
    """Add a file to its sample."""
    if f".{suffix.rpartition('.')[2]}" in EXTENSIONS:
        if not sample.image:
            sample.image = place
            sample.read = _reader(member, tar, shard)
            sample.version = f"{shard.token}:{member.offset_data}" if shard.token else ""
        return
    if suffix not in ("json", *_TEXT):
        return
    file = tar.extractfile(member)
    if file is None or member.size > _MAX_TEXT:
        sample.error = f"its .{suffix} is larger than {_MAX_TEXT >> 20} MiB"
        return
    text = file.read().decode("utf-8", "replace").strip()
    if suffix != "json":
        sample.values[suffix] = text
        return
    try:
        values = parse_json(text)
        sample.values |= values if isinstance(values, dict) else {"json": values}
    except ValueError as error:
        sample.error = f"its .json is not JSON: {error}"


def _reader(member: tarfile.TarInfo, tar: tarfile.TarFile, shard: Shard) -> Callable[[], bytes]:
    """Return the function that reads an image: from the local file when it is called, or else from memory."""
    if member.size > MAX_FILE_BYTES:
        return partial(unusable, f"too large: {member.size / 2**20:,.0f} MiB, the limit is {MAX_FILE_BYTES >> 20}")
    if shard.files is None:
        return partial(_read_part, shard.path, member.offset_data, member.size)
    file = tar.extractfile(member)
    return partial(bytes, file.read() if file else b"")


def _read_part(path: str, offset: int, size: int) -> bytes:
    with Path(path).open("rb") as file:
        file.seek(offset)
        return file.read(size)
