"""The section of a report about what one could take instead of cbir."""

from collections.abc import Mapping
from typing import Any

from ..report import svg
from ..report.document import Part, Plot, Section, Table
from ..report.model_sections import embedding_parts
from .view import SEARCH_COLUMNS, search_rows

Result = Mapping[str, Any]
_LEAST_SHOWN = 0.8


def peers_section(result: Result, command: str) -> Section:
    """Return the section of a result of `peers`: images a second, and searching at the same recall."""
    search = result["search"]
    k, target = search["k"], search["recall"]
    curves = {
        one["name"]: [
            ((point["recall"], 1000 / point["median_ms"]["median"]), True)
            for point in one["curve"]
            if point["recall"] >= _LEAST_SHOWN
        ]
        for one in search["candidates"]
        if not one["missing"]
    }
    drawn = svg.curves(f"recall@{k}", "searches a second, one client", curves, target)
    parts: list[Part] = [
        Table(f"Searching at recall@{k} of at least {target}", SEARCH_COLUMNS, search_rows(search)),
        Plot("peers", drawn, f"Recall@{k} against searches a second, by candidate, at every width of search"),
    ]
    if search["behind_fastest"]:
        rows = [[name, f"{ratio:.2f}"] for name, ratio in search["behind_fastest"].items()]
        parts.append(Table(f"Median by that of the fastest library, {search['fastest']}", ["store", "times"], rows))
    parts += [part for one in result["embedding"] or () for part in embedding_parts(one)]
    title = f"What else could one take? {result['collection']}, {search['points']:,} points"
    question = f"Other libraries with the same {search['dimension']:,}-dimensional vectors and the same files."
    return Section(title, question, command, parts, result["notes"])
