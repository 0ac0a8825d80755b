"""As much HTTP/1.1 as one keep-alive connection to an API server needs; standard library only.

http.client does the same and costs every CLI call 10 ms of imports (it drags in email.*); this is what is used of it.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from dataclasses import dataclass

MAXIMUM_HEADERS = 64 * 1024
# A LIST page of 500 objects at the API server's size limit does not come near it; a broken length does.
MAXIMUM_BODY = 1024 * 1024 * 1024


class TransportError(Exception):
    """The connection failed or the answer is no HTTP.

    Attributes:
        was_sent: Whether the whole request had been handed to the kernel, so that the server may have acted on it.
    """

    def __init__(self, message: str, *, was_sent: bool) -> None:
        super().__init__(message)
        self.was_sent = was_sent


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers (names in lower case) and whole body."""

    status: int
    headers: dict[str, str]
    body: bytes


class Connection:
    """Opens when first used, and again when the server has closed it in the meantime.

    Args:
        server: https://host:port or http://host:port.
        context: For https.
    """

    def __init__(self, server: str, context: ssl.SSLContext | None) -> None:
        scheme, _, rest = server.partition("://")
        self.authority = rest.partition("/")[0]
        host, colon, port = self.authority.rpartition(":")
        if not colon or host.endswith(":") or "]" in port:  # no port, or the colon is one of a bare IPv6 address
            host, port = self.authority, "443" if scheme == "https" else "80"
        self._address = (host.strip("[]"), int(port))
        self._context = context
        self._socket: socket.socket | None = None
        self._buffer = bytearray()
        self._deadline = 0.0

    def close(self) -> None:
        """Close it; the next request opens a new one."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._buffer.clear()

    def request(self, method: str, target: str, headers: dict[str, str], body: bytes | None, timeout_seconds: float) -> Answer:
        """Send one request and read the whole answer.

        Raises:
            TransportError: Not reached, cut off, too slow, or no HTTP. The connection is closed.
        """
        self._deadline = time.monotonic() + timeout_seconds
        sent = False
        try:
            channel = self._open()
            channel.sendall(self._encode(method, target, headers, body))
            sent = True
            return self._read_answer(channel)
        except (OSError, ValueError) as error:
            self.close()
            told = "no answer within the deadline" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
            raise TransportError(f"{self.authority}: {told}", was_sent=sent) from error

    def _open(self) -> socket.socket:
        # An idle connection that is readable was closed by the server (or holds garbage). Looking first spares the one case where a
        # lost connection leaves open whether a write happened.
        if self._socket is not None and select.select([self._socket], [], [], 0)[0]:
            self.close()
        if self._socket is None:
            channel: socket.socket = socket.create_connection(self._address, timeout=self._left())
            channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context is not None:
                try:
                    channel = self._context.wrap_socket(channel, server_hostname=self._address[0])
                except BaseException:
                    channel.close()
                    raise
            self._socket = channel
        self._socket.settimeout(self._left())
        return self._socket

    def _encode(self, method: str, target: str, headers: dict[str, str], body: bytes | None) -> bytes:
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self.authority}", *(f"{name}: {value}" for name, value in headers.items())]
        if any("\r" in line or "\n" in line for line in lines):
            raise ValueError("a header or the path holds a line break; is the token file damaged?")
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b"")

    def _read_answer(self, channel: socket.socket) -> Answer:
        status, headers = self._read_head(channel)
        while 100 <= status < 200:  # an interim answer; the real one follows
            status, headers = self._read_head(channel)
        closes = headers.get("connection", "").lower() == "close"
        if status in (204, 304):
            body = b""
        elif headers.get("transfer-encoding", "").lower() == "chunked":
            body = self._read_chunked(channel)
        elif "content-length" in headers:
            body = self._read_exactly(channel, int(headers["content-length"]))
        else:
            body, closes = self._read_to_end(channel), True
        if closes:
            self.close()
        return Answer(status, headers, body)

    def _read_head(self, channel: socket.socket) -> tuple[int, dict[str, str]]:
        head = self._read_until(channel, b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, _, rest = head[0].partition(" ")
        if not version.startswith("HTTP/1."):
            raise ValueError(f"answered {head[0][:60]!r}, which is not HTTP; is the address right, and https?")
        pairs = (line.partition(":") for line in head[1:] if line)
        return int(rest[:3]), {name.strip().lower(): value.strip() for name, _, value in pairs}

    def _read_chunked(self, channel: socket.socket) -> bytes:
        parts = []
        while size := int(self._read_until(channel, b"\r\n").partition(b";")[0], 16):
            parts.append(self._read_exactly(channel, size + 2)[:-2])
        while self._read_until(channel, b"\r\n"):  # trailers, which nobody reads
            pass
        return b"".join(parts)

    def _read_until(self, channel: socket.socket, mark: bytes) -> bytes:
        start = 0
        while (end := self._buffer.find(mark, start)) < 0:
            start = max(0, len(self._buffer) - len(mark))
            if len(self._buffer) > MAXIMUM_HEADERS:
                raise ValueError("sent no end of its headers")
            self._receive(channel)
        found = bytes(self._buffer[:end])
        del self._buffer[: end + len(mark)]
        return found

    def _read_exactly(self, channel: socket.socket, size: int) -> bytes:
        if not 0 <= size <= MAXIMUM_BODY:
            raise ValueError(f"announced a body of {size} bytes")
        while len(self._buffer) < size:
            self._receive(channel)
        found = bytes(self._buffer[:size])
        del self._buffer[:size]
        return found

    def _read_to_end(self, channel: socket.socket) -> bytes:
        try:
            while True:
                self._receive(channel)
        except ConnectionResetError:
            found = bytes(self._buffer)
            self._buffer.clear()
            return found

    def _receive(self, channel: socket.socket) -> None:
        channel.settimeout(self._left())
        data = channel.recv(65536)
        if not data:
            raise ConnectionResetError("closed the connection in the middle of an answer")
        self._buffer += data

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left
