"""The address that a server listens on."""

import socket

import pytest

from cbir.errors import UsageError
from cbir.listening import EVERYWHERE, check_public_name, in_url, is_loopback, require_free


def test_loopback_addresses_are_recognised() -> None:
    assert all(map(is_loopback, ["localhost", "LOCALHOST", "127.0.0.1", "127.8.9.1", "::1"]))
    assert not any(
        map(is_loopback, [EVERYWHERE[0], "::", "192.168.1.5", "localhost.example.org", "127.example.org", ""])
    )


def test_a_host_is_written_as_in_a_url() -> None:
    assert [in_url(host) for host in ("::1", *EVERYWHERE, "photos.org")] == [
        "[::1]",
        "localhost",
        "localhost",
        "photos.org",
    ]


@pytest.mark.parametrize("name", ["https://a.org", "*", "a.org:443", "", "-a.org"])
def test_a_text_that_is_no_host_name_is_refused(name: str) -> None:
    check_public_name("a.org")
    with pytest.raises(UsageError, match="not a host name"):
        check_public_name(name)


def test_a_port_in_use_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"cannot listen on 127.0.0.1:{port}: .* Choose another --port or --host"):
            require_free("127.0.0.1", port)
    require_free("127.0.0.1", port)
