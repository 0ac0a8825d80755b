"""The /healthz, /readyz and /metrics endpoint of a daemon."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from gastown.runtime.metrics import Registry

# "" means all is well; otherwise what is wrong.
Check = Callable[[], str]


@asynccontextmanager
async def health_server(host: str, port: int, *, why_dead: Check, why_not_ready: Check, metrics: Registry) -> AsyncIterator[int]:
    """Serve for the length of the block.

    It runs in the loop it reports on: if that hangs, the probe gets no answer, which is the right one.

    Args:
        host: Address to listen on.
        port: 0 takes a free one.
        why_dead: For /healthz: what only a restart heals.
        why_not_ready: For /readyz.
        metrics: For /metrics.

    Yields:
        The port.
    """

    def answer(check: Check) -> web.Response:
        problem = check()
        return web.Response(text=f"{problem or 'ok'}\n", status=503 if problem else 200)

    async def healthz(_: web.Request) -> web.Response:
        return answer(why_dead)

    async def readyz(_: web.Request) -> web.Response:
        return answer(why_not_ready)

    async def scrape(_: web.Request) -> web.Response:
        return web.Response(body=metrics.text().encode(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    application = web.Application()
    application.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", scrape)])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
