"""Hits as JSON for programs, and as CSV for spreadsheets."""

import json
from typing import Any

from cbir.records import to_json, without_fraction
from cbir.results import Hits
from cbir.stores.base import StoreInfo
from cbir.tables import Cell, Column, Table, to_csv


def as_record(hits: Hits, info: StoreInfo, access: str, first: int = 1) -> dict[str, Any]:
    """Return the result of a search as plain values. `first` is the rank of the first hit; groups have own ranks."""
    found: list[dict[str, Any]] = [
        {"rank": rank, "score": round(hit.score, 6), "id": hit.id, "key": hit.key, "label": hit.label}
        | {"payload": hit.payload}
        for rank, hit in enumerate(hits, first)
    ]
    for hit_record, (value, rank) in zip(found, _ranks_in_groups(hits), strict=False):
        hit_record |= {"group": value, "rank": rank}
    times = {stage: round(spent, 3) for stage, spent in hits.milliseconds.items()}
    return {"collection": info.collection, "store": info.url, "access": access, "hits": found, "milliseconds": times}


def as_json(hits: Hits, info: StoreInfo, access: str) -> str:
    """Return `as_record` as JSON text."""
    return json.dumps(as_record(hits, info, access), ensure_ascii=False) + "\n"


def as_csv(hits: Hits) -> str:
    """Return hits as CSV: the group if there are any, rank, score and the point's id, then the fields of payloads."""
    fields = list(dict.fromkeys(field for hit in hits for field in hit.payload))
    places = [[_cell(value), rank] for value, rank in _ranks_in_groups(hits)] or [[i + 1] for i in range(len(hits))]
    rows = [
        [*place, round(hit.score, 6), hit.id, *(_cell(hit.payload.get(field)) for field in fields)]
        for place, hit in zip(places, hits, strict=True)
    ]
    names = (*(["group"] if hits.groups else []), "rank", "score", "point", *fields)
    return to_csv(Table("", [Column(name) for name in names], rows))


def _ranks_in_groups(hits: Hits) -> list[tuple[Any, int]]:
    return [(group.value, rank) for group in hits.groups for rank in range(1, len(group.hits) + 1)]


def _cell(value: Any) -> Cell:
    is_plain = value is None or isinstance(value, str | bool | int | float)
    return without_fraction(value) if is_plain else to_json(value)
