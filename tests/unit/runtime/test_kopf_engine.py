"""The life of kopf in its thread."""

from __future__ import annotations

import asyncio

from gastown.runtime.kopf_engine import _Life


def test_a_kopf_that_is_stopped_before_its_thread_came_to_its_loop_never_runs() -> None:
    runs: list[asyncio.Event] = []

    async def run(stop: asyncio.Event) -> None:
        runs.append(stop)

    async def live() -> None:
        life = _Life(run)
        await life.stop()
        life.start()
        async with asyncio.timeout(60):
            await life.ended

    asyncio.run(live())
    assert runs == []
