"""Text for messages: one line, nothing that steers a terminal, no passwords."""

import pytest

from cbir.text import limited, one_line, printable, redacted, without_login


def test_a_key_cannot_steer_the_terminal() -> None:
    assert printable("a\x1b[31mb\nc") == "a\ufffd[31mb\ufffdc"


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (ValueError("two\n  lines\t\x1b[31m"), "two lines \ufffd[31m"),
        (ValueError(), "ValueError"),
        (" a\r\nb ", "a b"),
        ("", ""),
    ],
)
def test_a_message_is_one_printable_line(message: str | BaseException, line: str) -> None:
    assert one_line(message) == line


def test_a_message_is_never_as_long_as_what_it_quotes() -> None:
    assert limited("x" * 1000) == "x" * 1000
    assert one_line(ValueError("x" * 3_000_000)) == "x" * 1000 + "... (3,000,000 characters)"


def test_passwords_are_taken_out_of_urls() -> None:
    assert redacted("http://me:secret@host:6333 and edge:./a@b") == "http://host:6333 and edge:./a@b"
    assert redacted("http://me:se/cret@host") == "http://host", "a slash in a password hides nothing"


def test_a_url_without_its_login_keeps_the_rest() -> None:
    assert without_login("https://me:secret@host/photo@2x.jpg?by=a@b") == "https://host/photo@2x.jpg?by=a@b"
