"""Text for messages: on one line, free of what steers a terminal, and without passwords."""

import re


def one_line(message: str | BaseException) -> str:
    """Return a text or an error's text on one printable line, or the error's type where it has no text."""
    line = printable(" ".join(str(message).split()))
    return line or (type(message).__name__ if isinstance(message, BaseException) else "")


def printable(text: str) -> str:
    """Return the text with each character that would steer a terminal replaced, newlines included."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def redacted(text: str) -> str:
    """Return a message without the user names and passwords of its URLs, even of malformed ones."""
    return re.sub(r"(?<=://)\S*@", "", text)


def without_login(url: str) -> str:
    """Return a URL without its user name and password, and with every other character as it was."""
    return re.sub(r"(?<=://)[^/?#\s]*@", "", url)
