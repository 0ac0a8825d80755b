"""An HTTP server that answers from a script, byte by byte: for what a real API server does only on bad days."""

from __future__ import annotations

import json
import socket
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Request:
    """What a client sent."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Scripted:
    """One answer: raw bytes, then what happens to the connection.

    Attributes:
        after: keep it open for the next request, close it, or hang: stay silent until the test ends.
    """

    raw: bytes
    after: str = "keep"


def answer(status: int, body: Any = None, headers: dict[str, str] | None = None, *, after: str = "keep") -> Scripted:
    """A whole answer with a JSON body."""
    payload = b"" if body is None else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Told", f"Content-Length: {len(payload)}", *(f"{name}: {value}" for name, value in (headers or {}).items())]
    return Scripted("\r\n".join(lines).encode() + b"\r\n\r\n" + payload, after)


def failure(status: int, reason: str, message: str = "told", headers: dict[str, str] | None = None) -> Scripted:
    """A Status object, as the API server sends with every error."""
    return answer(status, {"kind": "Status", "status": "Failure", "code": status, "reason": reason, "message": message}, headers)


def stream(*pieces: bytes, after: str = "end") -> Scripted:
    """A chunked answer, one chunk per piece; `end` finishes it properly, close and hang leave it unfinished."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"".join(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces)
    return Scripted(head + chunks + (b"0\r\n\r\n" if after == "end" else b""), "keep" if after == "end" else after)


def event(type_: str, value: dict[str, Any]) -> bytes:
    """One line of a watch stream."""
    return json.dumps({"type": type_, "object": value}).encode() + b"\n"


@dataclass
class ScriptedServer:
    """Answers the n-th request with the n-th line of the script; without one left, hangs.

    Use as a context manager.
    """

    requests: list[Request] = field(default_factory=list)
    script: deque[Scripted | Callable[[Request], Scripted]] = field(default_factory=deque)

    def __enter__(self) -> ScriptedServer:
        self._stop = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._connections = 0
        self._lock = threading.Lock()
        self._closed: set[int] = set()
        self._closing = threading.Condition()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            connection.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def then(self, *lines: Scripted | Callable[[Request], Scripted]) -> None:
        """Add to the script."""
        self.script.extend(lines)

    def wait_closed(self, number: int) -> None:
        """Wait until this side has closed its n-th connection."""
        with self._closing:
            assert self._closing.wait_for(lambda: number in self._closed, timeout=10)

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            self._connections += 1
            threading.Thread(target=self._serve, args=(connection, self._connections), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        reader = connection.makefile("rb")
        try:
            while request := _read(reader, number):
                with self._lock:
                    self.requests.append(request)
                    line = self.script.popleft() if self.script else Scripted(b"", "hang")
                scripted = line(request) if callable(line) else line
                connection.sendall(scripted.raw)
                if scripted.after == "hang":
                    self._stop.wait()
                if scripted.after != "keep":
                    return
        except OSError:
            pass
        finally:
            reader.close()
            connection.close()
            with self._closing:
                self._closed.add(number)
                self._closing.notify_all()


def _read(reader: Any, number: int) -> Request | None:
    first = reader.readline()
    if not first:
        return None
    method, target, _ = first.decode().split(" ", 2)
    headers = {}
    while (line := reader.readline().decode().strip()) != "":
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return Request(method, target, headers, reader.read(int(headers.get("content-length", 0))), number)
