"""A proxy in front of a real API server that counts, cuts and loses: faults on real data."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from yarl import URL

from gastown.kube.configuration import Configuration

TOO_OLD = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
READS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass
class Proxy:
    """Plain http in front, the given identity behind; attributes may be changed at any time.

    Attributes:
        url: Of the front.
        seen: Method and path with query of every request.
        refuse_watches: Tell the next so many watches that their version is compacted.
        lose_answers: Forward the next so many writes, then drop the connection instead of answering.
        is_down: Drop every connection at once.
    """

    url: str = ""
    seen: list[tuple[str, str]] = field(default_factory=list)
    refuse_watches: int = 0
    lose_answers: int = 0
    is_down: bool = False
    _streams: set[asyncio.Task[object]] = field(default_factory=set)
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

    def cut_streams(self) -> None:
        """Break off all open watches."""
        assert self._loop is not None

        def cut() -> None:
            for stream in list(self._streams):
                stream.cancel()

        self._loop.call_soon_threadsafe(cut)

    async def handle(self, request: web.Request, behind: aiohttp.ClientSession, server: str) -> web.StreamResponse:
        """Forward one request, or what was asked for instead."""
        self.seen.append((request.method, request.raw_path))
        is_watch = "watch=" in request.query_string
        if self.is_down:
            return _drop(request)
        if is_watch and self.refuse_watches > 0:
            self.refuse_watches -= 1
            # As kube-apiserver does: 200, and the error inside. (kopf 1.45.2 ends at a 410 as HTTP status.)
            return web.json_response({"type": "ERROR", "object": TOO_OLD})
        target = URL(server + request.raw_path, encoded=True)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in ("host", "content-length")}
        async with behind.request(request.method, target, data=await request.read() or None, headers=headers) as answer:
            if request.method not in READS and self.lose_answers > 0:
                self.lose_answers -= 1
                await answer.read()
                return _drop(request)
            if is_watch:
                return await self._stream(request, answer)
            return web.Response(status=answer.status, body=await answer.read(), content_type=answer.content_type)

    async def _stream(self, request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status)
        await response.prepare(request)
        task = asyncio.current_task()
        assert task is not None
        self._streams.add(task)
        try:
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
        finally:
            self._streams.discard(task)
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
