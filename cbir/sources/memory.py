"""Images that a Python program passes: paths, bytes, PIL images and arrays."""

import hashlib
import os
from collections.abc import Sequence
from functools import cache, partial
from itertools import repeat

from cbir.errors import ImageError, UsageError
from cbir.images.inputs import ImageInput, require_image, require_list, to_bytes
from cbir.records import Item, Payload
from cbir.sources.base import FileBytes, Source, with_version

ORIGIN = "python"


def open_images(
    images: Sequence[ImageInput], keys: Sequence[str] | None, payloads: Sequence[Payload] | None, name: str
) -> Source:
    """Return the source for a list of images.

    A key is by default the path as given, or the SHA-256 of the bytes. The field `label` of a payload is the class.

    Raises:
        UsageError: The lists have different lengths, an object is not an image, or a label is a list.
    """
    require_list(images)
    for what, values in (("keys", keys), ("payloads", payloads)):
        if values is not None and len(values) != len(images):
            raise UsageError(f"There are {len(images)} images and {len(values)} {what}. Give one for each image.")
    if not len(images):
        raise UsageError("no images were given")
    items = list(map(_item, images, keys or repeat(None), payloads or repeat(None)))
    return Source(name, ORIGIN, items, total=len(items))


def _item(image: ImageInput, key: str | None, payload: Payload | None) -> Item:
    rest = dict(payload or {})
    label = rest.pop("label", None)
    if isinstance(label, list | tuple | dict):
        raise UsageError(f"The label {label!r} is not a text. Give each image one label, and others in another field.")
    label = label if label is None else str(label)
    if key is not None and not isinstance(key, str):
        raise UsageError(f"The key {key!r} is not a string.")
    if isinstance(image, str | os.PathLike):
        path = os.fspath(image)
        return with_version(Item(key or path, FileBytes(path), label, rest))
    require_image(image)
    data = cache(partial(_bytes, image))
    return Item(key or hashlib.sha256(data()).hexdigest(), data, label, rest)


def _bytes(image: ImageInput) -> bytes:
    try:
        return to_bytes(image)
    except UsageError as error:
        raise ImageError(str(error)) from None
