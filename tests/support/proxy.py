"""A proxy in front of a real API server that counts, cuts, loses, stalls and lies: faults on real data."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

from gastown.kube.configuration import Configuration

TOO_OLD = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
READS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass
class _Fault:
    """An answer of the proxy's own to the next so many requests with these words in their target."""

    words: str
    status: int
    body: bytes
    headers: dict[str, str]
    times: int


@dataclass(eq=False)
class _Stream:
    """A watch that is forwarded, and what becomes of it: "", silent, torn, halved."""

    task: asyncio.Task[object]
    fate: str = ""


@dataclass
class Proxy:
    """Plain http in front, the given identity behind; attributes may be changed at any time.

    Attributes:
        url: Of the front.
        seen: Method and path with query of every request.
        refuse_watches: Tell the next so many watches that their version is compacted.
        lose_answers: Forward the next so many writes, then drop the connection instead of answering.
        is_down: Drop every connection at once.
        token: Whoever does not bear it is answered 401; "" asks nobody.
        delay_seconds: Before a request that is no watch is forwarded.
        bytes_per_second: Of answers that are no watches; 0 means all at once.
        stall_answers: Send the next so many answers (but watches) by half and then nothing more.
        most_writes_in_flight: At the same time, so far.
    """

    url: str = ""
    seen: list[tuple[str, str]] = field(default_factory=list)
    refuse_watches: int = 0
    lose_answers: int = 0
    is_down: bool = False
    token: str = ""
    delay_seconds: float = 0.0
    bytes_per_second: int = 0
    stall_answers: int = 0
    most_writes_in_flight: int = 0
    _writes_in_flight: int = 0
    _faults: list[_Fault] = field(default_factory=list)
    _streams: set[_Stream] = field(default_factory=set)
    _loop: asyncio.AbstractEventLoop | None = None

    @property
    def configuration(self) -> Configuration:
        """For a client that goes through the proxy."""
        return Configuration(server=self.url)

    def writes(self) -> list[tuple[str, str]]:
        """What was no read."""
        return [(method, target) for method, target in self.seen if method not in READS]

    def count(self, method: str, words: str) -> int:
        """Requests of that method with these words in their target."""
        return sum(seen_method == method and words in target for seen_method, target in self.seen)

    def answer_instead(self, words: str, status: int, body: Any = None, *, headers: dict[str, str] | None = None, times: int = 1) -> None:
        """Answer the next so many requests with these words in their target, without asking the server.

        Args:
            body: A Status object of that code by default; bytes go out as they are.
        """
        if body is None:
            body = {"kind": "Status", "status": "Failure", "code": status, "reason": "Told", "message": "the test says so"}
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self._faults.append(_Fault(words, status, data, headers or {}, times))

    @property
    def faults_left(self) -> int:
        """Answers of `answer_instead` that nobody asked for yet."""
        return sum(fault.times for fault in self._faults)

    def cut_streams(self) -> None:
        """Break off all open watches."""
        self._call(lambda: [stream.task.cancel() for stream in self._streams])

    def tear_streams(self) -> None:
        """Break off each open watch in the middle of its next line."""
        self._doom("torn")

    def halve_streams(self) -> None:
        """End each open watch in the middle of its next line, in good order."""
        self._doom("halved")

    def silence_streams(self) -> None:
        """Forward nothing more on the open watches and never close them, as when a machine on the way is gone."""
        self._doom("silent")

    @property
    def open_streams(self) -> int:
        """Watches that are forwarded."""
        return sum(not stream.fate for stream in self._streams)

    def _doom(self, fate: str) -> None:
        def doom() -> None:
            for stream in self._streams:
                stream.fate = fate

        self._call(doom)

    def _call(self, action: Callable[[], object]) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(action)

    async def handle(self, request: web.Request, behind: aiohttp.ClientSession, server: str) -> web.StreamResponse:
        """Forward one request, or what was asked for instead."""
        self.seen.append((request.method, request.raw_path))
        is_watch = "watch=" in request.query_string
        if self.is_down:
            return _drop(request)
        if (lie := self._own_answer(request, is_watch=is_watch)) is not None:
            return lie
        if is_watch:
            async with self._forwarded(request, behind, server) as answer:
                return await self._stream(request, answer)
        await asyncio.sleep(self.delay_seconds)
        is_write = request.method not in READS
        self._writes_in_flight += is_write
        self.most_writes_in_flight = max(self.most_writes_in_flight, self._writes_in_flight)
        try:
            async with self._forwarded(request, behind, server) as answer:
                data = await answer.read()
                if is_write and self.lose_answers > 0:
                    self.lose_answers -= 1
                    return _drop(request)
                return await self._told(request, answer, data)
        finally:
            self._writes_in_flight -= is_write

    def _own_answer(self, request: web.Request, *, is_watch: bool) -> web.Response | None:
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.json_response({"kind": "Status", "code": 401, "reason": "Unauthorized", "message": "Unauthorized"}, status=401)
        for fault in self._faults:
            if fault.times > 0 and fault.words in request.raw_path:
                fault.times -= 1
                return web.Response(status=fault.status, body=fault.body, headers=fault.headers, content_type="application/json")
        if is_watch and self.refuse_watches > 0:
            self.refuse_watches -= 1
            # As kube-apiserver does: 200, and the error inside.
            return web.Response(body=json.dumps({"type": "ERROR", "object": TOO_OLD}).encode() + b"\n", content_type="application/json")
        return None

    @asynccontextmanager
    async def _forwarded(self, request: web.Request, behind: aiohttp.ClientSession, server: str) -> AsyncIterator[aiohttp.ClientResponse]:
        target = URL(server + request.raw_path, encoded=True)
        left_out = ("host", "content-length", "authorization")
        headers = {name: value for name, value in request.headers.items() if name.lower() not in left_out}
        async with behind.request(request.method, target, data=await request.read() or None, headers=headers) as answer:
            yield answer

    async def _told(self, request: web.Request, answer: aiohttp.ClientResponse, data: bytes) -> web.StreamResponse:
        # The server compresses long lists.
        kept = {name: answer.headers[name] for name in ("Content-Type", "Content-Encoding") if name in answer.headers}
        if not self.bytes_per_second and not self.stall_answers:
            return web.Response(status=answer.status, body=data, headers=kept)
        response = web.StreamResponse(status=answer.status, headers={"Content-Length": str(len(data)), **kept})
        await response.prepare(request)
        if self.stall_answers > 0:
            self.stall_answers -= 1
            await response.write(data[: len(data) // 2])
            await asyncio.Event().wait()
        step = max(1, self.bytes_per_second // 10)
        for start in range(0, len(data), step):
            if start:
                await asyncio.sleep(0.1)
            await response.write(data[start : start + step])
        return response

    async def _stream(self, request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status)
        await response.prepare(request)
        task = asyncio.current_task()
        assert task is not None
        stream = _Stream(task)
        self._streams.add(stream)
        try:
            async for chunk in answer.content.iter_any():
                if stream.fate == "silent":
                    await asyncio.Event().wait()
                if stream.fate:
                    await response.write(chunk[: len(chunk) // 2])
                    if stream.fate == "torn":
                        _drop(request)
                    return response
                await response.write(chunk)
        finally:
            self._streams.discard(stream)
        return response


def _drop(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


@contextmanager
def proxy_to(configuration: Configuration) -> Iterator[Proxy]:
    """A proxy in a thread of its own for the length of the block."""
    proxy, ready, stop = Proxy(), threading.Event(), asyncio.Event()

    async def main() -> None:
        async with _serving(proxy, configuration):
            proxy._loop = asyncio.get_running_loop()
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield proxy
    finally:
        assert proxy._loop is not None
        proxy._loop.call_soon_threadsafe(stop.set)
        thread.join(10)


@asynccontextmanager
async def _serving(proxy: Proxy, configuration: Configuration) -> AsyncIterator[None]:
    connector = aiohttp.TCPConnector(limit=0, ssl=configuration.ssl_context() or True)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as behind:

        async def handle(request: web.Request) -> web.StreamResponse:
            return await proxy.handle(request, behind, configuration.server)

        application = web.Application(client_max_size=16 * 1024 * 1024)
        application.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        proxy.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield
        finally:
            await runner.cleanup()
