"""Errors as one sentence for a visitor: no tracebacks, no absolute paths, no passwords, no markup."""

import logging
import re
import secrets
import string

import streamlit as st

from cbir.errors import CbirError, DamageError
from cbir.text import one_line, redacted

log = logging.getLogger("cbir.ui")

_FOLDERS = re.compile(r"(?<![\w.:/])(?:/[^\s/:,;'\"()]+)*/(?=[^\s/])")
_MARKUP = re.compile(f"([{re.escape(string.punctuation)}])")


def show(error: CbirError) -> None:
    """Show an error on the page, and the whole of it in the log."""
    log.error("%s: %s", type(error).__name__, error)
    st.error(literal(sentence(error)), icon=":material/error:")


def show_unexpected(error: BaseException) -> None:
    """Show that something went wrong, and a reference under which the log has the whole of it.

    Nothing of the error itself is shown: it was written for a programmer, and may hold anything.
    """
    reference = secrets.token_hex(4)
    log.error("unexpected error %s", reference, exc_info=error)
    st.error(
        f"Something went wrong on this page that cbir did not expect. Its log says what, under **{reference}**.",
        icon=":material/error:",
    )


def sentence(error: CbirError) -> str:
    """Return what a visitor may read of an error."""
    if isinstance(error, DamageError):
        return "The index of this collection is damaged and is not served; `cbir-ingest verify` names the bad files."
    text = _FOLDERS.sub("", redacted(one_line(error)))
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?")) else ".")


def literal(text: str) -> str:
    """Return the text escaped for Streamlit's markdown, which then shows it as it is."""
    return _MARKUP.sub(r"\\\1", text)
