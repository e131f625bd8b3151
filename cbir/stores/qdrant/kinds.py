"""The kinds of a collection's payload fields, decided by all of their values, and the indexes that fit them.

An index of whole numbers leaves out fractions, and a range over it misses them without a word. So the metadata has the
kinds under `cbir_kinds`, and a field gets another index when a value of another kind comes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from qdrant_client import models

from cbir.filters.conditions import FieldKind, Filter, Match, Range, kind_of, values_of
from cbir.filters.translate import field_path
from cbir.records import IDENTITY, Payload, without_fraction
from cbir.stores.qdrant.records import KINDS, USER_PAYLOAD, scroll, write_metadata
from cbir.stores.qdrant.server import Server, ServerError

Kinds = Mapping[str, str]
"""The kind of each field: the name of its index, "text" if all its texts are long, or "mixed"."""

COUNTED = frozenset({"keyword", "integer", "bool"})
"""The kinds whose values the server counts."""

FIELD_KINDS = {"integer": FieldKind.NUMBER, "float": FieldKind.NUMBER, "bool": FieldKind.TRUTH}
_NONE: Kinds = {}
_REFUSED = (400, 401, 403)
_IDENTITY: Kinds = dict.fromkeys(IDENTITY, "keyword")
_ON_DISK = models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, on_disk=True)
_LONGEST_TEXT = 100  # longer text is a description, not a value to filter by
_TYPES = {bool: "bool", int: "integer", float: "float", str: "keyword"}
_WIDER = {frozenset({"integer", "float"}): "float", frozenset({"keyword", "text"}): "keyword"}
_INDEXES = {
    "keyword": models.PayloadSchemaType.KEYWORD,
    "integer": models.PayloadSchemaType.INTEGER,
    "float": models.PayloadSchemaType.FLOAT,
    "bool": models.PayloadSchemaType.BOOL,
    "mixed": models.PayloadSchemaType.KEYWORD,  # numbers are compared with the payload then
}


def kinds_in(payloads: Iterable[Payload]) -> Kinds:
    """Return the kinds of the fields of payloads. A field without plain values has none."""
    found: dict[str, str] = {}
    for payload in payloads:
        for field in payload:
            for value in values_of(payload, field):
                kind = _TYPES.get(type(without_fraction(value)))
                if kind is not None and '"' not in field:
                    kind = "text" if kind == "keyword" and len(value) > _LONGEST_TEXT else kind
                    found[field] = _wider(found.get(field, kind), kind)
    return found


def merged(kinds: Kinds, others: Kinds) -> Kinds:
    """Return the kinds that fit the values of both."""
    return {**kinds, **{field: _wider(kinds.get(field, kind), kind) for field, kind in others.items()}}


def _wider(kind: str, other: str) -> str:
    return kind if kind == other else _WIDER.get(frozenset({kind, other}), "mixed")


def fitting(filter: Filter, kinds: Kinds) -> Filter:
    """Return the filter without values of other kinds than the field's: strict mode refuses to look for them."""
    return tuple(_fitting(condition, kinds.get(condition.field, "mixed")) for condition in filter)


def _fitting(condition: Match | Range, kind: str) -> Match | Range:
    if kind == "mixed" or isinstance(condition, Range):
        return condition
    wanted = FIELD_KINDS.get(kind, FieldKind.TEXT)
    values = tuple(value for value in condition.values if value is None or kind_of(value) is wanted)
    return replace(condition, values=values)


def stored_kinds(info: models.CollectionInfo) -> Kinds | None:
    """Return the kinds in a collection's metadata, None if an older version made it."""
    return (info.config.metadata or {}).get(KINDS)


def settle(server: Server, collection: str, seen: Kinds = _NONE, *, all_seen: bool = False) -> Kinds:
    """Add kinds to a collection's metadata, make its indexes fit, and return all of its kinds.

    What was written is read again, since other processes may fill the collection too. If an older version made the
    collection, every payload is read, unless `seen` has the kinds of all.
    """
    while True:
        info = server.ask(lambda client: client.get_collection(collection))
        stored = stored_kinds(info)
        if stored is None and not all_seen:
            seen = merged(_all_kinds(server, collection), seen)
        kinds = merged(merged(_IDENTITY, stored or {}), seen)
        for field, kind in kinds.items():
            _require_index(server, collection, info, field, kind)
        if kinds == stored:
            return kinds
        write_metadata(server, collection, KINDS, dict(kinds))


def check(server: Server, collection: str) -> Kinds:
    """Settle the kinds of a collection that an older version made. Return them only if the server does not allow it."""
    if stored_kinds(server.ask(lambda client: client.get_collection(collection))) is None:
        kinds = _all_kinds(server, collection)
        try:
            settle(server, collection, kinds, all_seen=True)
        except ServerError as error:
            if error.status not in _REFUSED:
                raise
            return kinds
    return {}


def _all_kinds(server: Server, collection: str) -> Kinds:
    return kinds_in(point.payload or {} for point in scroll(server, collection, payload=USER_PAYLOAD))


def _require_index(server: Server, collection: str, info: models.CollectionInfo, field: str, kind: str) -> None:
    path, index = field_path(field), _INDEXES.get(kind)
    existing = info.payload_schema.get(path)
    if index is not None and (existing is None or existing.data_type in set(_INDEXES.values()) - {index}):
        schema = _ON_DISK if field in IDENTITY else index
        server.ask(lambda client: client.create_payload_index(collection, path, schema))
