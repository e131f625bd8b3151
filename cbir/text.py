"""Text for messages: on one line, printable, and without passwords."""

import re

_LONGEST = 1000


def one_line(message: str | BaseException) -> str:
    """Return a text, or an error's message, as one printable line that is not too long; without text, its type."""
    line = printable(" ".join(limited(str(message)).split()))
    return line or (type(message).__name__ if isinstance(message, BaseException) else "")


def limited(text: str) -> str:
    """Return a text that a file may have made long with at most 1,000 characters."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({len(text):,} characters)"


def printable(text: str) -> str:
    """Return the text with every control character replaced, so that it cannot steer a terminal."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def redacted(text: str) -> str:
    """Return a message without the user names and passwords in its URLs, even in malformed ones."""
    return re.sub(r"(?<=://)\S*@", "", text)


def without_login(url: str) -> str:
    """Return a URL without its user name and password, otherwise unchanged."""
    return re.sub(r"(?<=://)[^/?#\s]*@", "", url)
