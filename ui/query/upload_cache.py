"""Pictures that visitors brought: kept in memory under a name that nobody can guess, while there is room.

A search is shared by its address, and an address cannot hold a picture. So it holds the picture's name on the shelf.
The pictures used last stay; none is ever written to a disk.
"""

import hashlib
import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property

from cbir.images.decode import decode, thumbnail

PREVIEW_SIDE = 480
_ROOM = 128 * 2**20


@dataclass(frozen=True)
class Brought:
    """A picture that a visitor brought, which can be decoded.

    Attributes:
        name: What to call it.
        data: Its file.
        thumbnail: A small JPEG of it.
        preview: A larger one, to choose a part of.
    """

    name: str
    data: bytes
    thumbnail: bytes
    preview: bytes

    @cached_property
    def sha256(self) -> str:
        """The content's SHA-256, as the payload of a stored copy has it."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        return len(self.data) + len(self.thumbnail) + len(self.preview)


def bring(data: bytes, name: str, max_megapixels: float) -> Brought:
    """Return an image file as a picture to ask with.

    Raises:
        ImageError: It cannot be used.
    """
    image = decode(data, shortest=PREVIEW_SIDE, max_megapixels=max_megapixels)
    return Brought(name, data, thumbnail(image, data), thumbnail(image, side=PREVIEW_SIDE))


class Shelf:
    """The pictures that were used last, in at most `room` bytes. Safe to share between threads."""

    def __init__(self, room: int = _ROOM):
        self._room = room
        self._lock = threading.Lock()
        self._pictures: OrderedDict[str, Brought] = OrderedDict()

    def put(self, picture: Brought, name: str = "") -> str:
        """Keep a picture and return its name on the shelf, one that cannot be guessed if none is given."""
        name = name or secrets.token_urlsafe(16)
        with self._lock:
            self._pictures[name] = picture
            self._pictures.move_to_end(name)
            while len(self._pictures) > 1 and sum(one.size for one in self._pictures.values()) > self._room:
                self._pictures.popitem(last=False)
        return name

    def get(self, name: str) -> Brought | None:
        """Return the picture of that name, None if it had to make room."""
        with self._lock:
            if name in self._pictures:
                self._pictures.move_to_end(name)
            return self._pictures.get(name)


shelf = Shelf()
