"""The query's examples in one collection: how each is shown, and the vector that stands for it there."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cbir.errors import ImageError
from cbir.images.decode import decode, thumbnail
from cbir.records import Payload, Vector
from cbir.search.searcher import Answer, Embedded, Searcher
from cbir.settings import Settings

from ..components import cached, parts
from . import state


@dataclass(frozen=True)
class Resolved:
    """An example of the query with everything that is known of it.

    Attributes:
        example: It.
        sign: "like" or "unlike".
        shown: How it is shown.
        line: What else there is to say of it.
        sha256: Of its bytes.
        embedded: Its vector, None for a stored picture, which has one already.
    """

    example: state.Example
    sign: state.Sign
    shown: parts.ShownExample
    line: str
    sha256: str
    embedded: Embedded | None

    @property
    def vector(self) -> str | Vector:
        """What the store is asked with."""
        return self.embedded.vectors[0] if self.embedded else self.example.ref


def resolve(asked: state.Query, searcher: Searcher, settings: Settings) -> tuple[list[Resolved], list[str]]:
    """Return the examples of a query, and why some of them cannot be asked for in this collection.

    Raises:
        CbirError: The store failed.
    """
    examples = asked.examples
    ids = [one.ref for _, one in examples if one.stored]
    stored = dict(zip(ids, zip(searcher.store.payloads(ids), searcher.store.thumbnails(ids), strict=True), strict=True))
    found: list[Resolved] = []
    gone: list[str] = []
    for sign, example in examples:
        try:
            if example.stored:
                payload, picture = stored[example.ref]
                if payload is None:
                    raise ImageError("That picture is not in this collection; choose another.")
                found.append(_stored(searcher, sign, example, payload, picture))
            else:
                found.append(_brought(searcher, sign, example, settings))
        except ImageError as error:
            gone.append(str(error))
    return found, list(dict.fromkeys(gone))


def heading(resolved: Sequence[Resolved]) -> tuple[str, str]:
    """Return what to call a query, and what else there is to say of it."""
    if len(resolved) == 1:
        return resolved[0].shown.title, resolved[0].line
    like = sum(one.sign == "like" for one in resolved)
    unlike = f", not like {len(resolved) - like}" if like < len(resolved) else ""
    return f"{len(resolved)} pictures", f"Like {like} of them{unlike}"


def vectors(resolved: Sequence[Resolved]) -> tuple[list[str | Vector], list[str | Vector]]:
    """Return what hits are to be like, and unlike: ids of stored pictures, and vectors."""
    like, unlike = ([one.vector for one in resolved if one.sign == sign] for sign in state.SIGNS)
    return like, unlike


def timed(answer: Answer, resolved: Sequence[Resolved]) -> Answer:
    """Return the answer with the time that its query's pictures took."""
    spent: dict[str, float] = {}
    for one in resolved:
        for stage, milliseconds in (one.embedded.milliseconds if one.embedded else {}).items():
            spent[stage] = spent.get(stage, 0.0) + milliseconds
    return replace(answer, milliseconds=spent | answer.milliseconds)


def _stored(
    searcher: Searcher, sign: state.Sign, example: state.Example, payload: Payload, picture: bytes | None
) -> Resolved:
    name, line, sha256 = parts.heading(payload), parts.subheading(payload), str(payload.get("sha256"))
    embedded = None
    if example.crop is not None:
        if picture is None:
            raise ImageError(f"There is no picture of {name} to take a part of.")
        embedded = cached.embedded(searcher, example.ref, picture, example.crop)
        line, sha256 = "A part of its thumbnail", ""
    return Resolved(example, sign, _shown(sign, name, picture, None, example), line, sha256, embedded)


def _brought(searcher: Searcher, sign: state.Sign, example: state.Example, settings: Settings) -> Resolved:
    picture = state.picture(example.ref, settings)
    embedded = cached.embedded(searcher, picture.sha256, picture.data, example.crop)
    line, sha256 = ("A part of your picture", "") if example.crop else ("Your picture", picture.sha256)
    shown = _shown(sign, picture.name, picture.thumbnail, picture.preview, example)
    return Resolved(example, sign, shown, line, sha256, embedded)


def _shown(
    sign: str, name: str, picture: bytes | None, large: bytes | None, example: state.Example
) -> parts.ShownExample:
    if example.crop is None:
        return parts.ShownExample(sign, name, picture, large or picture, None)
    crop, whole = example.crop, large or picture or b""
    part = thumbnail(crop.of(decode(whole)))
    return parts.ShownExample(sign, name, part, whole, (crop.left, crop.top, crop.right, crop.bottom))
