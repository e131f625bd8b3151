"""What the page says of a store and of a collection: what it holds, how it is searched, and what to do about it."""

from collections.abc import Sequence

import streamlit as st

from cbir.evaluation.result_files import shortened
from cbir.images.decode import PREPROCESSING_VERSION
from cbir.models.card import ModelCard
from cbir.settings import DEFAULT_STORES
from cbir.stores.base import StoreInfo
from cbir.stores.listing import CollectionInfo
from cbir.text import redacted

from . import web
from .problems import literal

Rows = Sequence[tuple[str, str]]
"""Names and values."""

_ACCESS = {
    "graph": "through its graph",
    "scan": "by scanning all vectors",
    "ivf": "through the nearest of its lists",
}


def facts(info: StoreInfo) -> None:
    """Draw what is searched."""
    if info.model.random_weights:
        st.warning("This model has random weights, so what it finds means nothing.", icon=":material/warning:")
    indexed = f", {info.indexed:,} of {info.count:,} indexed" if info.access != "scan" else ""
    rows = [
        ("Collection", info.collection),
        ("Pictures", f"{info.count:,}"),
        ("Model", info.model.name),
        ("Access", f"{info.access}{indexed}"),
    ]
    web.facts(rows + ([("Generation", info.generation)] if info.generation else []))


def how_searched(info: StoreInfo, exact: bool, filtered: bool) -> str:
    """Return in words how the store found its hits."""
    if exact or info.access == "scan":
        why = "as asked" if exact and info.access != "scan" else "so few need no graph"
        how = f"Exact search: all {info.count:,} pictures were compared ({why})"
    else:
        option = {"graph": "ef", "ivf": "nprobe"}[info.access]
        how = f"Approximate search by the {info.access} ({option} {info.options.get(option, '?')})"
        if info.indexed < info.count:
            how += (
                f" of {info.indexed:,} pictures; the {info.count - info.indexed:,} that are not in it yet were scanned"
            )
        else:
            how += f"; {info.indexed:,} of {info.count:,} pictures are indexed"
    return how + (f". The {info.filtering} applied the filter." if filtered else ".")


def how_to_fill(url: str) -> None:
    """Draw what to do about a store without collections."""
    where = store_option(url)
    st.info("This store has no pictures yet. Fill it, then reload this page:", icon=":material/inventory_2:")
    st.code(f"cbir-ingest ./photos{where}", language=None, wrap_lines=True)
    st.markdown("Or, to look around first, with the packaged sample:")
    st.code(f"cbir-ingest sample://openmoji{where}", language=None, wrap_lines=True)


def store_option(url: str) -> str:
    """Return the option that names a store on a command line, without its password; "" for a default store."""
    return "" if url in DEFAULT_STORES else f" --store {redacted(url)}"


def draw_rows(rows: Rows) -> None:
    """Draw names and values, a line each."""
    if rows:
        st.markdown("\n".join(f"- {literal(name)}: {literal(' '.join(value.split()))}" for name, value in rows))


def summary(listed: CollectionInfo) -> Rows:
    """Return what a collection holds and where it comes from."""
    rows = []
    if listed.points is not None:
        indexed = "" if listed.indexed is None else f", {listed.indexed:,} of them indexed"
        rows.append(("Pictures", f"{listed.points:,}{indexed}"))
    if listed.dataset:
        means = ", which means this collection" if listed.alias else ""
        rows.append(("Data set", f"{listed.dataset}{means}"))
    if listed.source:
        rows.append(("From", shortened(listed.source)))
    if listed.megabytes is not None:
        rows.append(("On disk", f"{listed.megabytes:,} MB"))
    if listed.generation:
        rows.append(("Generation", listed.generation))
    if listed.created:
        rows.append(("Made", listed.created.replace("T", " ").replace("+00:00", " UTC")))
    return rows


def access(info: StoreInfo) -> str:
    """Return how a store searches a collection."""
    how = _ACCESS.get(info.access, info.access)
    return f"searched {how}; {info.indexed:,} of {info.count:,} pictures indexed"


def model(listed: CollectionInfo, card: ModelCard | None) -> Rows:
    """Return which model made the vectors of a collection, and what its card says."""
    made_by = listed.made_by
    if made_by is None:
        return []
    rows = [("Model", f"{made_by.name}, {made_by.dimension:,} dimensions"), ("SHA-256", f"{made_by.sha256[:16]}…")]
    if card is None:
        return [*rows, ("Origin", "its file is not here, or does not fit")]
    trained = card.training
    return [
        *rows,
        ("Weights", shortened(card.weights)),
        ("SHA-256 of the weights", f"{card.weights_sha256[:16]}…" if card.weights_sha256 else "none: they are random"),
        ("Licence", card.license),
        ("Precision", card.precision),
        *([("Trained", f"{trained.kind} on {trained.images:,} images of {trained.data}")] if trained else []),
        ("Made by", ", ".join(f"{name} {version}" for name, version in card.exporter.items())),
    ]


def warnings(listed: CollectionInfo, url: str, verifies: bool) -> list[str]:
    """Return what is to be known or done, in Markdown.

    Args:
        listed: The collection.
        url: A store that has it.
        verifies: True if `cbir-ingest verify` can check its files.
    """
    where = _code(shortened(store_option(url)))
    ingest = f"`cbir-ingest {_code(shortened(listed.source)) or 'SOURCE'}{where}`"
    found = []
    if listed.made_by and listed.made_by.random_weights:
        found.append(
            "Its model has random weights, so that what it finds means nothing: ingest with a model that was trained."
        )
    if listed.made_by and listed.made_by.preprocessing != PREPROCESSING_VERSION:
        found.append(
            f"Its vectors were made with preprocessing version {listed.made_by.preprocessing}, and this cbir has"
            f" {PREPROCESSING_VERSION}: pictures are no longer prepared alike. Ingest it again, with a model of this"
            " version."
        )
    if listed.condition == "damaged":
        look = f"`cbir-ingest verify{where}` will name the bad files" if verifies else "Look at the server's log"
        found.append(f"It is damaged, and what is damaged is not served. {look}; {ingest} builds it anew.")
    if listed.run == "running" and listed.condition == "unfinished":
        found.append("An ingest is filling it for the first time; it can be searched when that is done.")
    elif listed.run == "interrupted" and listed.condition == "unfinished":
        found.append(f"It is half-built. The command that began it goes on where it was: {ingest}, with its options.")
    elif listed.run == "interrupted":
        found.append(f"The last ingest into it was interrupted. The same command goes on: {ingest}, with its options.")
    if listed.condition == "indexing":
        found.append("The server has not indexed all of it yet, so that searching may be slow for a while.")
    return found


def _code(text: str) -> str:
    return text.replace("`", "'")
