"""Stored images, hits, and the list of hits that a notebook shows as a gallery."""

import base64
import html
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from cbir.errors import UsageError
from cbir.records import Entry

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image

ThumbnailLoader = Callable[[Sequence[str]], list[bytes | None]]


@dataclass(frozen=True)
class StoredImage(Entry):
    """One image of a collection.

    Example:
        >>> image = photos.get("1F600")
        >>> image.key, image.label
        ('1F600', 'Smileys & Emotion')
        >>> image.image().size
        (192, 192)

    Attributes:
        id: Its id in every store.
        payload: Its key, label, SHA-256 and the fields of the source.
    """

    _load: ThumbnailLoader | None = field(default=None, repr=False, compare=False, kw_only=True)
    _source: str = field(default="", repr=False, compare=False, kw_only=True)

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickled without what belongs to the open store: the thumbnail and the path are then missing.
        return type(self), tuple(getattr(self, field.name) for field in fields(self) if not field.kw_only)

    @property
    def path(self) -> Path | None:
        """The image file, if the collection was filled from a folder and the file still exists; otherwise None."""
        path = Path(self._source, self.key)
        try:
            return path if path.is_absolute() and path.is_file() else None
        except OSError:  # no file can have such a name
            return None

    def image(self) -> "Image.Image":
        """Return the stored thumbnail, an RGB image of at most 192 x 192 pixels. The original is not stored.

        Example:
            >>> photos.get("1F600").image().save("thumbnail.png")

        Raises:
            UsageError: The image was removed from the collection, or has no thumbnail.
        """
        from PIL import Image

        data = self._load([self.id])[0] if self._load else None
        if not data:
            raise UsageError(f"{self.key} has no stored thumbnail")
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            return image.convert("RGB")


@dataclass(frozen=True)
class Hit(StoredImage):
    """One result of a search.

    Example:
        >>> hit = photos.search("1F600", limit=1)[0]
        >>> 0.5 < hit.score <= 1
        True

    Attributes:
        score: The cosine similarity to the query: at most 1, higher is better.
    """

    score: float = 0.0


@dataclass(frozen=True)
class HitGroup:
    """The best hits with the same value of a payload field.

    Example:
        >>> hits = photos.search("query.png", group_by="label", limit=3, group_size=2)
        >>> [len(group.hits) for group in hits.groups]
        [2, 2, 2]
        >>> hits.groups[0].value
        'Smileys & Emotion'
    """

    value: str | int | float | bool | None
    hits: list[Hit]


class Hits(Sequence[Hit]):
    """The hits of a search, best first; a notebook shows them as a gallery.

    Example:
        >>> hits = photos.search("1F600", limit=5)
        >>> len(hits), hits[0].score >= hits[1].score
        (5, True)
        >>> [hit.key for hit in hits[:2]] == [hits[0].key, hits[1].key]
        True

    Attributes:
        groups: The same hits by the value of a field, if the search had `group_by`.
        milliseconds: The time of each stage of the search.
    """

    def __init__(
        self,
        hits: Sequence[Hit] = (),
        groups: Sequence[HitGroup] = (),
        milliseconds: Mapping[str, float] | None = None,
    ):
        self._hits = list(hits)
        self.groups = list(groups)
        self.milliseconds = dict(milliseconds or {})

    def __len__(self) -> int:
        return len(self._hits)

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> "Hits": ...
    def __getitem__(self, index: int | slice) -> "Hit | Hits":
        """Return a hit, or a slice as `Hits`."""
        if isinstance(index, slice):
            return Hits(self._hits[index], (), self.milliseconds)
        return self._hits[index]

    def __iter__(self) -> Iterator[Hit]:
        return iter(self._hits)

    def __eq__(self, other: object) -> bool:
        return self._hits == list(other) if isinstance(other, Sequence) else NotImplemented

    def __repr__(self) -> str:
        lines = [f"{rank:>3}  {hit.score:.4f}  {hit.key}" for rank, hit in enumerate(self._hits, 1)]
        return "\n".join([f"Hits({len(self)})", *lines])

    def to_pandas(self) -> "pd.DataFrame":
        """Return a table with a row for each hit: id, key, score, and the other payload fields.

        A payload field named `id` or `score` becomes `id_` or `score_`.

        Example:
            >>> photos.search("1F600", limit=5).to_pandas().columns.tolist()
            ['id', 'key', 'score', 'label', 'sha256']

        Raises:
            UsageError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError:
            raise UsageError("to_pandas needs pandas: pip install pandas") from None
        columns = {"id": "id_", "score": "score_"}
        rows = [
            {"id": hit.id, "key": hit.key, "score": hit.score}
            | {columns.get(name, name): value for name, value in hit.payload.items()}
            for hit in self._hits
        ]
        return pd.DataFrame(rows) if rows else pd.DataFrame(columns=["id", "key", "score"])

    def _repr_html_(self) -> str:
        """Return the gallery that Jupyter and VS Code show."""
        load = self._hits[0]._load if self._hits else None
        thumbnails = load([hit.id for hit in self._hits]) if load else [None] * len(self)
        cards = "".join(_card(hit, thumbnail) for hit, thumbnail in zip(self._hits, thumbnails, strict=True))
        return f'<div style="display:flex;flex-wrap:wrap;gap:8px">{cards or "no hits"}</div>'


def _card(hit: Hit, thumbnail: bytes | None) -> str:
    source = f' src="data:image/jpeg;base64,{base64.b64encode(thumbnail).decode()}"' if thumbnail else ""
    name = html.escape(hit.key)
    lines: list[Any] = [f"{hit.score:.3f}", hit.label or ""]
    return (
        '<figure style="margin:0;width:128px;font:12px sans-serif">'
        f'<img{source} alt="{name}" title="{name}" style="width:128px;height:128px;object-fit:contain">'
        f'<figcaption style="overflow:hidden;text-overflow:ellipsis;white-space:nowrap">{name}<br>'
        f"{html.escape(' · '.join(filter(None, lines)))}</figcaption></figure>"
    )
