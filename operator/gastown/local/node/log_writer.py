"""Writes a container's output to its log file, line by line with time and stream, as container runtimes do.

A line is `TIME STREAM TAG TEXT`: TIME in nanoseconds UTC, TAG `F` for a full line and `P` for a piece whose end follows.
`log_reader.py` reads it.
"""

# The os module alone: this is on the way of every container start, and pathlib costs 4 ms to import.
# ruff: noqa: PTH104

from __future__ import annotations

import os
import select
import time

MAXIMUM_LINE_BYTES = 16_384
ROTATE_BYTES = 10 * 1024 * 1024  # the kubelet's default; one older file is kept


class LogWriter:
    """The only writer of one `log` file, in one shim."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._pending: dict[str, bytes] = {}
        self._open()

    def __enter__(self) -> LogWriter:
        return self

    def __exit__(self, *_: object) -> None:
        for stream, rest in self._pending.items():
            if rest:
                self._write([_format(stream, b"P", rest, _now())])
        os.close(self._descriptor)

    def copy(self, descriptor: int, stream: str) -> bool:
        """Take what one pipe holds now; False at its end."""
        data = os.read(descriptor, 65_536)
        if not data:
            return False
        *lines, rest = (self._pending.get(stream, b"") + data).split(b"\n")
        stamp = _now()
        entries: list[bytes] = []
        for line in lines:
            while len(line) > MAXIMUM_LINE_BYTES:
                entries.append(_format(stream, b"P", line[:MAXIMUM_LINE_BYTES], stamp))
                line = line[MAXIMUM_LINE_BYTES:]
            entries.append(_format(stream, b"F", line, stamp))
        while len(rest) > MAXIMUM_LINE_BYTES:
            entries.append(_format(stream, b"P", rest[:MAXIMUM_LINE_BYTES], stamp))
            rest = rest[MAXIMUM_LINE_BYTES:]
        self._pending[stream] = rest
        self._write(entries)
        return True

    def drain(self, output: int, errors: int, seconds: float) -> None:
        """After the container's end: take what is left, but do not wait for a stranger that still holds the pipe."""
        deadline = time.monotonic() + seconds
        poll = select.poll()
        poll.register(output, select.POLLIN)
        poll.register(errors, select.POLLIN)
        while time.monotonic() < deadline and (ready := poll.poll(0)):
            for descriptor, _ in ready:
                if not self.copy(descriptor, "stdout" if descriptor == output else "stderr"):
                    poll.unregister(descriptor)

    def _open(self) -> None:
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._size = os.fstat(self._descriptor).st_size

    def _write(self, entries: list[bytes]) -> None:
        data = b"".join(entries)
        if not data:
            return
        if self._size > ROTATE_BYTES:
            os.close(self._descriptor)
            os.rename(self._path, f"{self._path}.1")
            self._open()
        try:
            self._size += os.write(self._descriptor, data)
        except OSError:
            return  # a full disk costs log lines; the container itself goes on


def _format(stream: str, tag: bytes, text: bytes, stamp: bytes) -> bytes:
    return b"%b %b %b %b\n" % (stamp, stream.encode(), tag, text)


def _now() -> bytes:
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    moment = time.gmtime(seconds)
    return b"%04d-%02d-%02dT%02d:%02d:%02d.%09dZ" % (*moment[:6], nanoseconds)
