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
    """Draw an error, and log it in full."""
    log.error("%s: %s", type(error).__name__, error)
    st.error(literal(sentence(error)), icon=":material/error:")


def show_unexpected(error: BaseException) -> None:
    """Draw that an unexpected error occurred, with a reference to its full text in the log.

    The error itself is not shown: it was written for a programmer, and may contain secrets.
    """
    reference = secrets.token_hex(4)
    log.error("unexpected error %s", reference, exc_info=error)
    st.error(
        f"An unexpected error occurred. Look for **{reference}** in the log of cbir-ui for its cause.",
        icon=":material/error:",
    )


def sentence(error: CbirError) -> str:
    """Return an error in words that a visitor may read."""
    if isinstance(error, DamageError):
        return (
            "The index of this collection is damaged and not served. `cbir-ingest verify` lists the bad files, and"
            " `cbir-ingest collections repair` repairs them."
        )
    text = _FOLDERS.sub("", redacted(one_line(error)))
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?")) else ".")


def literal(text: str) -> str:
    """Return the text escaped for Streamlit's Markdown."""
    return _MARKUP.sub(r"\\\1", text)
