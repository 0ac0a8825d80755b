"""`kubectl exec` over the WebSocket protocol v5: the API server passes the client's stream straight through to here.

First byte of each message is the channel: 0 stdin, 1 stdout, 2 stderr, 3 the end as a Status object, 4 terminal size,
255 the end of a channel.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from typing import Any

from aiohttp import WSMsgType, web

from gastown.local.node.launcher import RunningContainer, kill_and_reap, readable, spawn_inside, wait_process

PROTOCOL = "v5.channel.k8s.io"
_STDIN, _STDOUT, _STDERR, _STATUS, _CLOSE = 0, 1, 2, 3, 255
_CHUNK = 32_768


async def serve_exec(request: web.Request, inside: RunningContainer) -> web.StreamResponse:
    """Run the asked-for command in a container and carry its streams."""
    command = request.query.getall("command", [])
    if request.query.get("tty") == "1":
        raise web.HTTPNotImplemented(text="the process node has no terminals: leave out --tty")
    if request.headers.get("Upgrade", "").lower() != "websocket":
        raise web.HTTPNotImplemented(text="the process node speaks WebSocket only; use kubectl 1.31 or newer")
    if not command:
        raise web.HTTPBadRequest(text="no command given")
    socket = web.WebSocketResponse(protocols=(PROTOCOL,))
    await socket.prepare(request)
    stdin_read, stdin_write = os.pipe()
    stdout_read, stdout_write = os.pipe()
    stderr_read, stderr_write = os.pipe()
    wants_stdin = request.query.get("input") == "1"
    try:
        process = spawn_inside(inside, command, stdout=stdout_write, stderr=stderr_write, stdin=stdin_read if wants_stdin else None)
    except OSError as error:
        for descriptor in (stdin_write, stdout_read, stderr_read):
            os.close(descriptor)
        await _send_end(socket, 126, str(error))
        return socket
    finally:
        for descriptor in (stdin_read, stdout_write, stderr_write):
            os.close(descriptor)
    reader = asyncio.create_task(_receive(socket, stdin_write))
    try:
        copies = asyncio.create_task(_copy_both(stdout_read, stderr_read, socket))
        await asyncio.wait([copies, reader], return_when=asyncio.FIRST_COMPLETED)
        if copies.done():
            await _send_end(socket, await wait_process(process))
        else:
            copies.cancel()  # the client went away
            await asyncio.wait([copies])
    finally:
        reader.cancel()
        await kill_and_reap(process)
        with contextlib.suppress(ConnectionError):
            await socket.close()
    return socket


async def _copy_both(stdout: int, stderr: int, socket: web.WebSocketResponse) -> None:
    await asyncio.gather(_copy(stdout, socket, _STDOUT), _copy(stderr, socket, _STDERR))


async def _copy(descriptor: int, socket: web.WebSocketResponse, channel: int) -> None:
    os.set_blocking(descriptor, False)
    try:
        while True:
            await readable(descriptor)
            data = os.read(descriptor, _CHUNK)
            if not data:
                return
            await socket.send_bytes(bytes([channel]) + data)
    finally:
        os.close(descriptor)


async def _receive(socket: web.WebSocketResponse, stdin: int) -> None:
    """Take the client's messages until it leaves; its end of input closes ours."""
    is_open = True
    try:
        async for message in socket:
            if message.type is not WSMsgType.BINARY or not message.data:
                continue
            channel, data = message.data[0], message.data[1:]
            if channel == _STDIN and is_open:
                is_open = await asyncio.to_thread(_write_all, stdin, data)
            elif channel == _CLOSE and data[:1] == bytes([_STDIN]) and is_open:
                os.close(stdin)
                is_open = False
                stdin = -1
    finally:
        if stdin >= 0:
            os.close(stdin)


def _write_all(descriptor: int, data: bytes) -> bool:
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError:
        return False
    return True


async def _send_end(socket: web.WebSocketResponse, code: int, message: str = "") -> None:
    status: dict[str, Any] = {"metadata": {}, "status": "Success"}
    if code != 0:
        text = message or f"command terminated with non-zero exit code: exit status {code}"
        cause = {"reason": "ExitCode", "message": str(code)}
        status = {"metadata": {}, "status": "Failure", "message": text, "reason": "NonZeroExitCode", "details": {"causes": [cause]}}
    await socket.send_bytes(bytes([_STATUS]) + json.dumps(status).encode())
