"""A connection whose client must send the head of each request, and take the answer, in time: uvicorn just waits."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 20.0
"""How long a client may take for the head of a request, from its first byte or from the start of the connection."""

STALL_SECONDS = 30.0
"""How long a client may take none of an answer that waits for it. An answer that waits holds its memory."""

_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class TimedConnection(HttpToolsProtocol):
    """uvicorn's connection, closed with 408 if the head of a request does not come, and if nobody takes an answer."""

    _timer: asyncio.TimerHandle | None = None
    _stall: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Wait for the rest of the head, if this is the start of a request."""
        if self._timer is None and (self.cycle is None or self.cycle.response_complete):
            self._wait()
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """Stop waiting."""
        self._stop()
        super().on_headers_complete()

    def pause_writing(self) -> None:
        """Watch whether the client takes what waits for it."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """Stop watching."""
        self._stop_watching()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting and watching."""
        self._stop()
        self._stop_watching()
        super().connection_lost(exc)

    def _watch(self) -> None:
        self._stall = self.loop.call_later(STALL_SECONDS, self._judge, self.transport.get_write_buffer_size())

    def _judge(self, before: int) -> None:
        if self.transport.get_write_buffer_size() < before:
            self._watch()
        else:
            self.transport.abort()

    def _stop_watching(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _wait(self) -> None:
        self._timer = self.loop.call_later(HEAD_SECONDS, self._refuse)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self) -> None:
        self.transport.write(_TOO_SLOW)
        self.transport.close()
