"""Facts and advice about a store and a collection: its contents, how it is searched, its model and its problems."""

import shlex
from collections.abc import Sequence

import streamlit as st

from cbir.evaluation.result_files import shortened
from cbir.images.decode import PREPROCESSING_VERSION
from cbir.models.card import ModelCard, Training
from cbir.settings import DEFAULT_STORES
from cbir.stores.base import StoreInfo
from cbir.stores.listing import CollectionInfo
from cbir.text import redacted

from .problems import literal

Rows = Sequence[tuple[str, str]]
"""Names and values."""


def draw_rows(rows: Rows) -> None:
    """Draw names and values as a list."""
    if rows:
        st.markdown("\n".join(f"- {literal(name)}: {literal(' '.join(value.split()))}" for name, value in rows))


def facts(info: StoreInfo) -> None:
    """Draw the facts of an opened collection."""
    if info.model.random_weights:
        st.warning("This model has random weights, so its hits mean nothing.", icon=":material/warning:")
    indexed = f", {info.indexed:,} of {info.count:,} indexed" if info.access != "scan" else ""
    model = ", ".join(filter(None, (info.model.name, info.model.precision)))
    rows = [("Images", f"{info.count:,}"), ("Model", model), ("Access", f"{info.access}{indexed}")]
    draw_rows(rows + ([("Generation", f"{info.generation}, change {info.commit}")] if info.generation else []))


def how_searched(info: StoreInfo, exact: bool = False, filtered: bool = False) -> str:
    """Return in words how a store searches a collection."""
    if exact or info.access == "scan":
        why = "as requested" if exact and info.access != "scan" else "no graph index"
        how = f"Exact search of all {info.count:,} images ({why})"
    else:
        option = {"graph": "ef", "ivf": "nprobe"}[info.access]
        how = f"Approximate search by the {info.access} ({option} {info.options.get(option, '?')})"
        if info.indexed < info.count:
            how += f" of {info.indexed:,} images; the {info.count - info.indexed:,} that are not indexed are scanned"
        else:
            how += f"; {info.indexed:,} of {info.count:,} images are indexed"
    return how + (f". The {info.filtering} applied the filter." if filtered else ".")


def how_to_fill(url: str) -> None:
    """Draw how to fill a store without collections."""
    where = store_option(url)
    st.info("This store has no images yet. Fill it, then reload this page:", icon=":material/inventory_2:")
    st.code(f"cbir-ingest ./photos{where}", language=None, wrap_lines=True)
    st.markdown("Or try it with the packaged sample:")
    st.code(f"cbir-ingest sample://openmoji{where}", language=None, wrap_lines=True)


def store_option(url: str) -> str:
    """Return the option that names a store on a command line, without its password; "" for a default store."""
    return "" if url in DEFAULT_STORES else f" --store {shlex.quote(redacted(url))}"


def summary(listed: CollectionInfo) -> Rows:
    """Return the contents and the origin of a collection."""
    indexed = "" if listed.indexed is None else f", {listed.indexed:,} of them indexed"
    alias = " (this collection is in use)" if listed.alias else ""
    rows = (
        ("Images", "" if listed.points is None else f"{listed.points:,}{indexed}"),
        ("Data set", f"{listed.dataset}{alias}" if listed.dataset else ""),
        ("Source", shortened(listed.source)),
        ("On disk", "" if listed.megabytes is None else f"{listed.megabytes:,} MB"),
        ("Generation", listed.generation),
        ("Created", listed.created.replace("T", " ").replace("+00:00", " UTC")),
    )
    return [row for row in rows if row[1]]


def model(listed: CollectionInfo, card: ModelCard | None) -> Rows:
    """Return the model of a collection's vectors, and the contents of its card."""
    made_by = listed.made_by
    if made_by is None:
        return []
    rows = [("Model", f"{made_by.name}, {made_by.dimension:,} dimensions"), ("SHA-256", f"{made_by.sha256[:16]}…")]
    if card is None:
        return [*rows, ("Card", "not available: the model file is missing or another one")]
    trained = card.training
    return [
        *rows,
        ("Weights", shortened(card.weights)),
        ("SHA-256 of the weights", f"{card.weights_sha256[:16]}…" if card.weights_sha256 else "none: they are random"),
        ("Licence", card.license),
        ("Precision", card.arithmetic),
        *([("Images read with", made_by.libraries)] if made_by.libraries else []),
        *([("Trained", _trained(trained))] if trained else []),
        ("Made by", ", ".join(f"{name} {version}" for name, version in card.exporter.items())),
    ]


def _trained(training: Training) -> str:
    """Return what was trained, on what, and how well it then found."""
    what = f"{training.kind} on {training.images:,} images of {training.data}"
    precision = training.metrics.get("precision_at_5")
    if precision is not None:
        what += f", test P@5 {precision:.4f}"
    if training.run is not None:
        what += f", loss {training.run.recipe.get('loss')}, best of {len(training.run.curves['loss'])} epochs"
    return what


def warnings(listed: CollectionInfo, url: str, verifies: bool) -> list[str]:
    """Return the problems of a collection and what to do about them, in Markdown.

    `url` is that of its store, and `verifies` whether `cbir-ingest verify` can check its files.
    """
    where = _code(shortened(store_option(url)))
    ingest = f"`cbir-ingest {_code(shortened(listed.source)) or 'SOURCE'}{where}`"
    found = []
    if listed.made_by and listed.made_by.random_weights:
        found.append("Its model has random weights, so its hits mean nothing. Ingest again with a trained model.")
    if listed.made_by and listed.made_by.preprocessing != PREPROCESSING_VERSION:
        found.append(
            f"Its vectors were made with preprocessing version {listed.made_by.preprocessing}, but this cbir prepares"
            f" images with version {PREPROCESSING_VERSION}. Ingest again, with a model of this version."
        )
    if listed.condition == "damaged":
        verify = f"`cbir-ingest verify{where}` lists the bad files"
        repair = f"`cbir-ingest collections repair {_code(listed.collection)}{where}` repairs it"
        help_text = f"{verify}; {repair}." if verifies else f"Look at the server's log; {ingest} rebuilds it."
        found.append(f"It is damaged, and damaged files are not served. {help_text}")
    unfinished = listed.condition == "unfinished"
    if listed.run == "running" and unfinished:
        found.append("The first ingest is running. The collection can be searched when it is complete.")
    elif listed.run == "interrupted":
        which = "Its" if unfinished else "The last"
        found.append(f"{which} ingest was interrupted. Run the same command to continue: {ingest}, with its options.")
    if listed.condition == "indexing":
        found.append("The server is still indexing it. Searches may be slow for a while.")
    return found


def _code(text: str) -> str:
    return text.replace("`", "'")
