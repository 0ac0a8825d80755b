"""All parts of a control loop live and die together, and say when they are ill."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

import aiohttp
import pytest

from gastown.runtime import manager as managers
from gastown.runtime.feed import Pulse
from gastown.runtime.health import health_server
from gastown.runtime.manager import Manager
from gastown.runtime.metrics import Registry
from support.becoming import becomes


@dataclass
class Scripted:
    """A feed that does what the test says."""

    behaviour: Callable[[Pulse], Awaitable[None]]
    name: str = "beads/town"
    pulse: Pulse = field(default_factory=Pulse)

    async def run(self) -> None:
        await self.behaviour(self.pulse)


async def syncs(pulse: Pulse) -> None:
    pulse.heard()
    pulse.synced()
    await asyncio.Event().wait()


async def hangs(pulse: Pulse) -> None:
    pulse.active()
    await asyncio.Event().wait()


async def fails(pulse: Pulse) -> None:
    raise RuntimeError("a bug in the feed")


@pytest.fixture(autouse=True)
def _thawed() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_a_feed_that_fails_ends_the_whole() -> None:
    async def inside() -> None:
        async with asyncio.timeout(5):
            await Manager([Scripted(fails), Scripted(syncs)], [], metrics=Registry("t")).run()

    with pytest.raises(ExceptionGroup) as told:
        asyncio.run(inside())
    assert told.group_contains(RuntimeError, match="a bug in the feed")


def test_it_is_ready_when_every_feed_is_synced_and_freezes_what_they_brought() -> None:
    async def inside() -> None:
        late = Scripted(hangs, "pods/town")
        manager = Manager([Scripted(syncs), late], [], metrics=Registry("t"))
        task = asyncio.create_task(manager.run())
        await becomes(lambda: manager.why_not_ready() == "not synced: pods/town")
        assert gc.get_freeze_count() == 0
        late.pulse.synced()
        await becomes(lambda: gc.get_freeze_count() > 0)
        assert manager.why_not_ready() == ""
        task.cancel()

    asyncio.run(inside())


def test_a_feed_that_does_nothing_any_more_is_told_to_the_liveness_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    async def inside() -> str:
        feed = Scripted(hangs)
        manager = Manager([feed], [], metrics=Registry("t"))
        task = asyncio.create_task(manager.run())
        await becomes(lambda: feed.pulse.last_active > 0)
        assert manager.why_dead() == ""
        monkeypatch.setattr(managers, "DEAD_FEED_SECONDS", 0.005)
        await becomes(lambda: manager.why_dead() != "")
        task.cancel()
        return manager.why_dead()

    assert asyncio.run(inside()).startswith("feed beads/town did nothing for")


def test_probes_and_metrics_are_served() -> None:
    async def inside() -> list[tuple[int, str]]:
        metrics = Registry("t")
        metrics.counter("a_total", "A.").add()
        found = []
        async with (
            health_server("127.0.0.1", 0, why_dead=lambda: "", why_not_ready=lambda: "not synced: beads", metrics=metrics) as port,
            aiohttp.ClientSession() as session,
        ):
            for path in ("healthz", "readyz", "metrics"):
                async with session.get(f"http://127.0.0.1:{port}/{path}") as answer:
                    found.append((answer.status, (await answer.text()).splitlines()[-1]))
        return found

    assert asyncio.run(inside()) == [(200, "ok"), (503, "not synced: beads"), (200, "t_a_total 1")]
