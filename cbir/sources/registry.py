"""`open_source` returns the source that the user named.

./photos                     a folder tree; the class of an image is its parent folder
s3://bucket/photos, gs://... the same in a bucket, or in another file system of fsspec
data.parquet, 'data/*.parquet', data.arrow, a folder written by `save_to_disk`
imagefolder:./folder         the image folder of Hugging Face `datasets`, with its metadata file
hf://owner/name              a data set of the Hugging Face hub
'webdataset:./shards/*.tar'  WebDataset shards
list.csv, list.tsv, list.jsonl   paths or URLs with payload columns
-                            the same from standard input: one path or URL on each line, or JSON rows
sample://openmoji            the packaged sample

To add a source, write a module with a function that takes the text and the options, and name it in `OPENERS`.
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from cbir.errors import UsageError
from cbir.sources.base import Source, SourceOptions

Opener = Callable[[str, SourceOptions], Source]

OPENERS = {
    ".parquet": "hf_datasets.open_dataset",
    ".arrow": "hf_datasets.open_dataset",
    ".tar": "webdataset.open_webdataset",
    ".csv": "table.open_table",
    ".tsv": "table.open_table",
    ".jsonl": "table.open_table",
    ".ndjson": "table.open_table",
    "-": "table.open_stdin",
    "imagefolder:PATH": "hf_datasets.open_dataset",
    "webdataset:PATTERN": "webdataset.open_webdataset",
    "hf://OWNER/NAME": "hf_datasets.open_dataset",
    "s3://BUCKET/PATH": "bucket.open_bucket",
    "gs://BUCKET/PATH": "bucket.open_bucket",
    "sample://openmoji": "sample.open_sample",
}
"""The function that opens each source, by the suffix of a file, the scheme before the colon, or "-"."""

_SAVED = ("dataset_info.json", "dataset_dict.json")
"""One of these files is in every folder that `datasets` saved."""


def open_source(text: str, options: SourceOptions) -> Source:
    """Return the source that `text` names.

    Raises:
        UsageError: There is no such source, or it does not have what the options name.
        CbirError: The source cannot be reached.
    """
    return _opener(text)(text, options)


def _opener(text: str) -> Opener:
    scheme, colon, _ = text.partition(":")
    for form, name in OPENERS.items():
        if form.startswith(f"{scheme}:") if colon else form == text == "-":
            return _imported(name)
    if "://" in text:
        return _imported("bucket.open_bucket")
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:  # there is no such user
        raise UsageError(f"{text}: {error}") from None
    if path.is_dir():
        saved = any((path / name).is_file() for name in _SAVED)
        return _imported("hf_datasets.open_dataset" if saved else "folder.open_folder")
    if path.suffix.lower() in OPENERS:
        return _imported(OPENERS[path.suffix.lower()])
    kind = "is not a folder" if path.exists() else "does not exist"
    suffixes = " ".join(form for form in OPENERS if form.startswith("."))
    schemes = ", ".join(form for form in OPENERS if ":" in form)
    raise UsageError(f"{text} {kind}. A source is a folder, a file ( {suffixes} ), {schemes}, or - for standard input.")


def _imported(name: str) -> Opener:
    module, _, function = name.partition(".")
    opener: Opener = getattr(import_module(f"cbir.sources.{module}"), function)
    return opener
