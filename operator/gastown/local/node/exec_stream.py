"""`kubectl exec` over the WebSocket protocol v5: the API server passes the client's stream straight through to here.

First byte of each message is the channel: 0 stdin, 1 stdout, 2 stderr, 3 the end as a Status object, 4 terminal size,
255 the end of a channel.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import struct
import subprocess
import termios
from dataclasses import dataclass
from typing import Any

from aiohttp import WSMsgType, web

from gastown.local.node.launcher import RunningContainer, kill_and_reap, readable, spawn_inside, wait_process

PROTOCOL = "v5.channel.k8s.io"
_STDIN, _STDOUT, _STDERR, _STATUS, _RESIZE, _CLOSE = 0, 1, 2, 3, 4, 255
_CHUNK = 32_768


@dataclass(slots=True)
class _Streams:
    """Our ends of a command's streams.

    Attributes:
        stdin: Descriptor to write to; -1 once closed.
        outputs: Channel by descriptor to read from.
        terminal: Whether both are the same pseudo-terminal.
    """

    stdin: int
    outputs: dict[int, int]
    terminal: bool = False

    def close_stdin(self) -> None:
        """The client's input is at its end."""
        if self.stdin >= 0 and not self.terminal:
            os.close(self.stdin)
            self.stdin = -1

    def close(self) -> None:
        """Let go of everything."""
        for descriptor in {self.stdin, *self.outputs} - {-1}:
            os.close(descriptor)
        self.stdin, self.outputs = -1, {}


async def serve_exec(request: web.Request, inside: RunningContainer) -> web.StreamResponse:
    """Run the asked-for command in a container and carry its streams."""
    command = request.query.getall("command", [])
    if request.headers.get("Upgrade", "").lower() != "websocket":
        raise web.HTTPNotImplemented(text="the process node speaks WebSocket only; use kubectl 1.31 or newer")
    if not command:
        raise web.HTTPBadRequest(text="no command given")
    socket = web.WebSocketResponse(protocols=(PROTOCOL,))
    await socket.prepare(request)
    try:
        start = _start_with_terminal if request.query.get("tty") == "1" else _start
        process, streams = start(inside, command, has_input=request.query.get("input") == "1")
    except OSError as error:
        await _send_end(socket, 126, f"the command could not be started: {error}")
        return socket
    reader = asyncio.create_task(_receive(socket, streams))
    copies = asyncio.create_task(_copy_all(streams, socket))
    try:
        await asyncio.wait([copies, reader], return_when=asyncio.FIRST_COMPLETED)
        if copies.done():
            await _send_end(socket, await wait_process(process))
    finally:
        for task in (reader, copies):  # the one that is left: the client went away, or has nothing more to say
            task.cancel()
        await asyncio.wait([reader, copies])
        streams.close()
        await kill_and_reap(process)
        with contextlib.suppress(ConnectionError):
            await socket.close()
    return socket


def _start(inside: RunningContainer, command: list[str], *, has_input: bool) -> tuple[subprocess.Popen[bytes], _Streams]:
    (stdin_read, stdin_write), (stdout, stdout_write), (stderr, stderr_write) = os.pipe(), os.pipe(), os.pipe()
    streams = _Streams(stdin_write, {stdout: _STDOUT, stderr: _STDERR})
    try:
        return spawn_inside(inside, command, stdout=stdout_write, stderr=stderr_write, stdin=stdin_read if has_input else None), streams
    except OSError:
        streams.close()
        raise
    finally:
        for descriptor in (stdin_read, stdout_write, stderr_write):
            os.close(descriptor)


def _start_with_terminal(inside: RunningContainer, command: list[str], *, has_input: bool) -> tuple[subprocess.Popen[bytes], _Streams]:
    master, slave = os.openpty()
    streams = _Streams(master if has_input else -1, {master: _STDOUT}, terminal=True)
    try:
        return spawn_inside(inside, command, stdout=slave, stderr=slave, stdin=slave, terminal=True), streams
    except OSError:
        streams.close()
        raise
    finally:
        os.close(slave)


async def _copy_all(streams: _Streams, socket: web.WebSocketResponse) -> None:
    await asyncio.gather(*(_copy(descriptor, socket, channel) for descriptor, channel in streams.outputs.items()))


async def _copy(descriptor: int, socket: web.WebSocketResponse, channel: int) -> None:
    while True:
        await readable(descriptor)
        try:
            data = os.read(descriptor, _CHUNK)
        except OSError:
            return  # a terminal whose last user is gone reads as an error, not as an end
        if not data:
            return
        await socket.send_bytes(bytes([channel]) + data)


async def _receive(socket: web.WebSocketResponse, streams: _Streams) -> None:
    """Take the client's messages until it leaves."""
    async for message in socket:
        if message.type is not WSMsgType.BINARY or not message.data:
            continue
        channel, data = message.data[0], message.data[1:]
        if channel == _STDIN and streams.stdin >= 0:
            if not await asyncio.to_thread(_write_all, streams.stdin, data):
                streams.close_stdin()
        elif channel == _CLOSE and data[:1] == bytes([_STDIN]):
            streams.close_stdin()
        elif channel == _RESIZE and streams.terminal:
            _resize(next(iter(streams.outputs)), data)


def _write_all(descriptor: int, data: bytes) -> bool:
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError:
        return False
    return True


def _resize(terminal: int, data: bytes) -> None:
    try:
        size = json.loads(data)
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", int(size["Height"]), int(size["Width"]), 0, 0))
    except (ValueError, KeyError, TypeError, struct.error):
        return  # a client that cannot say how large it is keeps the size it has


async def _send_end(socket: web.WebSocketResponse, code: int, message: str = "") -> None:
    status: dict[str, Any] = {"metadata": {}, "status": "Success"}
    if code != 0:
        text = message or f"command terminated with non-zero exit code: exit status {code}"
        cause = {"reason": "ExitCode", "message": str(code)}
        status = {"metadata": {}, "status": "Failure", "message": text, "reason": "NonZeroExitCode", "details": {"causes": [cause]}}
    await socket.send_bytes(bytes([_STATUS]) + json.dumps(status).encode())
