"""Images with captions: from a column of a source, or from a file of captions in the form of COCO or Flickr30k."""

import csv
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from cbir.errors import UsageError
from cbir.evaluation.embeddings import embed_labelled
from cbir.evaluation.retrieval import Rows, blocks
from cbir.models.embedder import Embedder
from cbir.progress import Progress, silent
from cbir.records import Item, Vector
from cbir.settings import Settings
from cbir.sources.base import SourceOptions
from cbir.sources.registry import open_source

HELD_OUT = 3 / 16
"""The share of images that a text tower does not learn from."""


@dataclass(frozen=True)
class Captioned:
    """Unit vectors (n, D) of images, each with its key, one or more captions, and its class if it has one."""

    name: str
    vectors: Vector
    keys: Sequence[str]
    captions: Sequence[Sequence[str]]
    labels: Sequence[str | None]

    def of_rows(self, rows: Sequence[int]) -> "Captioned":
        """Return some of the images."""
        captions, labels = [self.captions[row] for row in rows], [self.labels[row] for row in rows]
        return Captioned(self.name, self.vectors[list(rows)], [self.keys[row] for row in rows], captions, labels)


def require_captions(columns: Sequence[str], file: Path | None) -> None:
    """Raise `UsageError` if neither a column nor a file of captions is named."""
    if not columns and file is None:
        raise UsageError("Name the column of the captions with --caption, or a file of captions with --captions.")


def read_captioned(
    text: str,
    columns: Sequence[str],
    file: Path | None,
    options: SourceOptions,
    embedder: Embedder,
    settings: Settings,
    progress: Progress = silent,
) -> Captioned:
    """Return the embedded images of a source that have a caption, in one of the columns or in a file of captions.

    Raises:
        UsageError: No image has a caption, none can be used, or the file cannot be read or does not say which image a
            caption belongs to.
    """
    source = open_source(text, options)
    items = list(source.items)
    named = captions_by_key(read_captions(file), [item.key for item in items]) if file is not None else {}
    captions = {
        item.key: found for item in items if (found := [*_own_captions(item, columns), *named.get(item.key, ())])
    }
    items = [item for item in items if item.key in captions]
    if not items:
        where = " or ".join([*(f"the column {column}" for column in columns), *([str(file)] if file else [])])
        raise UsageError(f"{text} has no captions in {where}. Name their column with --caption, or a file of captions")
    embedded = embed_labelled(source.name, items, embedder, settings, progress=progress)
    labels = {item.key: item.label for item in items}
    keys = embedded.keys
    return Captioned(
        source.name, embedded.vectors, keys, [captions[key] for key in keys], [labels[key] for key in keys]
    )


def read_captions(file: Path) -> dict[str, list[str]]:
    """Return the captions in a file by the paths of the images, as they are written there.

    The file is COCO's JSON (`images`, `annotations`), a CSV with the columns image and caption, or Flickr30k's
    `NAME.jpg#0<TAB>caption`.

    Raises:
        UsageError: The file cannot be read, or has another form.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
        found = _of_coco(json.loads(text)) if text.lstrip().startswith("{") else _of_lines(text.splitlines())
    except OSError as error:
        raise UsageError(f"cannot read the captions {file}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise UsageError(
            f"{file} has no captions: it is neither COCO's JSON, a CSV with the columns image and caption, nor lines"
            f" NAME#N<TAB>CAPTION ({type(error).__name__}: {error})"
        ) from None
    captions: dict[str, list[str]] = {}
    for name, caption in found:
        if caption.strip():
            captions.setdefault(name.removeprefix("./"), []).append(caption.strip())
    return captions


def captions_by_key(captions: Mapping[str, Sequence[str]], keys: Iterable[str]) -> dict[str, Sequence[str]]:
    """Return the captions of images by their keys, from captions by path: those of the key, or of the same file name.

    Raises:
        UsageError: A file name that is not found by its key belongs to two paths, or to two images.
    """
    found = {key: captions[key] for key in keys if key in captions}
    paths, others = _by_file_name(captions.keys() - found), _by_file_name(set(keys) - found.keys())
    for name in paths.keys() & others.keys():
        for same in (paths[name], others[name]):
            if len(same) > 1:
                raise UsageError(
                    f"Captions of {name}: {same[0]} and {same[1]} have the same file name. Write the whole path of each"
                    " image in the file of captions, as the source has it."
                )
        found[others[name][0]] = captions[paths[name][0]]
    return found


def is_held_out(key: str, seed: int) -> bool:
    """Return True for the images that a text tower does not learn from: a share of `HELD_OUT`, by their keys alone."""
    digest = hashlib.sha256(f"{seed}:{key}".encode()).digest()
    return int.from_bytes(digest[:8]) < HELD_OUT * 2**64


def ranks(queries: Vector, found: Vector, own: Rows) -> Rows:
    """Return for each query (q, D) how many of the found (n, D) are more similar to it than its own, of row `own` (q,).

    All are unit vectors.
    """
    better = [np.empty(0, np.int64)]
    for rows in blocks(len(queries), len(found)):
        scores = queries[rows] @ found.T
        best = scores[np.arange(len(scores)), own[rows]]
        better.append((scores > best[:, None]).sum(axis=1))
    return np.concatenate(better)


def _by_file_name(paths: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in sorted(paths):
        found.setdefault(PurePosixPath(path).name, []).append(path)
    return found


def _own_captions(item: Item, columns: Sequence[str]) -> list[str]:
    payload = item.payload or {}
    values = [payload.get(column) for column in columns]
    return [value.strip() for value in values if isinstance(value, str) and value.strip()]


def _of_coco(content: dict[str, list[dict[str, object]]]) -> list[tuple[str, str]]:
    names = {image["id"]: str(image["file_name"]) for image in content["images"]}
    return [(names[note["image_id"]], str(note["caption"])) for note in content["annotations"]]


def _of_lines(lines: Sequence[str]) -> list[tuple[str, str]]:
    if lines and "\t" in lines[0]:
        pairs = (line.split("\t", 1) for line in lines if line.strip())
        return [(name.rpartition("#")[0] or name, caption) for name, caption in pairs]
    table = csv.DictReader(lines, restval="")
    if not {"image", "caption"} <= set(table.fieldnames or ()):
        raise KeyError("image, caption")
    return [(row["image"], row["caption"]) for row in table]
