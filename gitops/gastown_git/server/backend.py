"""Runs `git http-backend` for one request and streams in both directions; never holds a body in memory.

The child gets a process group of its own: when the client goes, or a deadline passes, git, upload-pack, pack-objects and all end
together.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from aiohttp import web

from gastown_git.errors import GitopsError
from gastown_git.git_process import TERMINATION_GRACE_SECONDS
from gastown_git.server.counters import Counters

CHUNK_BYTES = 64 * 1024

_GROUP_POLL_SECONDS = 0.02
_MAX_HEADER_LINES = 50
_ERROR_TAIL_BYTES = 4000
_ending: set[asyncio.Task[None]] = set()  # a cancelled request does not stop the end of its child


class BackendFailed(GitopsError):
    """git http-backend ended without an answer; its last words tell why."""


async def run_backend(
    request: web.Request,
    body: AsyncIterator[bytes],
    environment: Mapping[str, str],
    counters: Counters,
    *,
    service: str,
    idle_seconds: float,
    wind_down_seconds: float = 0.0,
    after: Callable[[], Awaitable[None]] | None = None,
) -> web.StreamResponse:
    """Let git answer a request.

    Args:
        request: To answer.
        body: What the client sends, decoded as far as the caller wants it.
        environment: Complete, CGI variables included.
        counters: Bytes and children are counted here.
        service: Label for the counters.
        idle_seconds: Longest time without a byte in either direction.
        wind_down_seconds: Time for git to notice by the end of its input that the client is gone, before it is told by SIGTERM.
            receive-pack needs it: interrupted by a signal it leaves the objects it has got so far lying about.
        after: Run when git has ended, however it ended, and even when the client is gone by then.

    Returns:
        The response, completely sent.

    Raises:
        TimeoutError: No byte moved for too long.
        BackendFailed: git said nothing; nothing was sent to the client yet.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(idle_seconds) as idle, _child(environment, counters, wind_down_seconds, after) as child:

        def alive() -> None:
            idle.reschedule(loop.time() + idle_seconds)

        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        feeder = asyncio.create_task(_feed(child.stdin, body, counters, service, alive))
        errors = asyncio.create_task(_tail(child.stderr))
        try:
            response = await _head(child.stdout, errors)
            await response.prepare(request)
            while chunk := await child.stdout.read(CHUNK_BYTES):
                alive()
                await response.write(chunk)
                counters.add("gastown_repo_sent_bytes_total", len(chunk), service=service)
            await feeder  # a client that is still sending would take an early end for a broken connection
            await response.write_eof()
            await child.wait()
        finally:
            feeder.cancel()
            errors.cancel()
            await asyncio.gather(feeder, errors, return_exceptions=True)
    return response


@contextlib.asynccontextmanager
async def _child(
    environment: Mapping[str, str], counters: Counters, wind_down_seconds: float, after: Callable[[], Awaitable[None]] | None
) -> AsyncIterator[asyncio.subprocess.Process]:
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        "git", "http-backend", stdin=pipe, stdout=pipe, stderr=pipe, env=environment, start_new_session=True
    )
    counters.add("gastown_repo_children")
    try:
        yield child
    finally:
        end = asyncio.create_task(_end(child, counters, wind_down_seconds, after))
        _ending.add(end)
        end.add_done_callback(_ending.discard)
        await asyncio.shield(end)


async def _end(
    child: asyncio.subprocess.Process, counters: Counters, wind_down_seconds: float, after: Callable[[], Awaitable[None]] | None
) -> None:
    try:
        if child.returncode is None:
            await _end_group(child, wind_down_seconds)
    finally:
        counters.add("gastown_repo_children", -1)
    if after is not None:
        await after()


async def _end_group(child: asyncio.subprocess.Process, wind_down_seconds: float) -> None:
    """End git and all it started; the group is what is waited for, because http-backend itself goes before its children."""
    assert child.stdin is not None
    child.stdin.close()
    if await _is_gone(child, wind_down_seconds):
        return
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal_number)
        if await _is_gone(child, TERMINATION_GRACE_SECONDS):
            return


async def _is_gone(child: asyncio.subprocess.Process, patience_seconds: float) -> bool:
    try:
        async with asyncio.timeout(patience_seconds):
            await child.wait()
            while _is_alive(child.pid):  # noqa: ASYNC110 - grandchildren are not ours to wait for
                await asyncio.sleep(_GROUP_POLL_SECONDS)
    except TimeoutError:
        return False
    return True


def _is_alive(group: int) -> bool:
    """Look whether a process group has members; reaps those that became our own children, as they do where we are process 1."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-group, os.WNOHANG) != (0, 0):
            pass
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


async def _feed(
    pipe: asyncio.StreamWriter, body: AsyncIterator[bytes], counters: Counters, service: str, alive: Callable[[], None]
) -> None:
    """Give the body to git; when git no longer listens, read on to the end so that the client reads git's answer."""
    listening = True
    async for chunk in body:
        alive()
        counters.add("gastown_repo_received_bytes_total", len(chunk), service=service)
        if listening:
            try:
                pipe.write(chunk)
                await pipe.drain()
            except (BrokenPipeError, ConnectionResetError):
                listening = False
    pipe.close()


async def _head(stream: asyncio.StreamReader, errors: asyncio.Task[bytes]) -> web.StreamResponse:
    """Turn the CGI header lines into a response that is not sent yet."""
    response = web.StreamResponse()
    answered = False
    for _ in range(_MAX_HEADER_LINES):
        line = (await stream.readline()).strip()
        if not line:
            break
        answered = True
        name, _, value = line.decode("latin-1").partition(":")
        if name.lower() == "status":
            response.set_status(int(value.split()[0]))
        else:
            response.headers[name] = value.strip()
    if not answered:
        said = (await errors).decode(errors="replace").strip()
        raise BackendFailed("git http-backend", f"gave no answer: {said or 'no message'}", remedy="see the repo-server's log")
    return response


async def _tail(stream: asyncio.StreamReader) -> bytes:
    tail = b""
    while chunk := await stream.read(CHUNK_BYTES):
        tail = (tail + chunk)[-_ERROR_TAIL_BYTES:]
    return tail
