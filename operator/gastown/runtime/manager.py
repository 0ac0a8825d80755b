"""Runs the feeds and controllers of a process as one: all up, or the process ends and is started anew."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from gastown.runtime.controller import Controller
from gastown.runtime.feed import Feed
from gastown.runtime.log import say
from gastown.runtime.metrics import Registry

logger = logging.getLogger(__name__)

# A feed does something at least every 90 s (a silent stream is given up) plus the deadline and retries of a LIST.
DEAD_FEED_SECONDS = 240.0
# Twice the deadline of a decision: the deadline itself did not work.
STUCK_DECISION_SECONDS = 120.0


class Manager:
    """Owner of the tasks of a control loop.

    Args:
        feeds: Started first.
        controllers: Each waits for the feeds it needs.
        metrics: For the state of the feeds.
        tasks: Further coroutines with the same fate, such as an expiry or `kopf.operator`.
    """

    def __init__(
        self,
        feeds: Sequence[Feed],
        controllers: Sequence[Controller[Any]],
        *,
        metrics: Registry,
        tasks: Sequence[Callable[[], Awaitable[None]]] = (),
    ) -> None:
        self._feeds = tuple(feeds)
        self._controllers = tuple(controllers)
        self._tasks = tuple(tasks)
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        metrics.gauge("feed_synced", "Whether the feed's store has held everything.", ("feed",), collect=self._synced_by_feed)
        metrics.gauge("feed_silent_seconds", "Since the API server last told the feed something.", ("feed",), collect=self._silence_by_feed)
        metrics.counter("feed_undecodable_total", "Objects left out.", ("feed",), collect=self._undecodable_by_feed)

    async def run(self) -> None:
        """Run until cancelled, or until any of the parts fails.

        Raises:
            ExceptionGroup: What a part failed with. End the process: it starts from LIST, which is always right.
        """
        async with asyncio.TaskGroup() as group:
            for feed in self._feeds:
                group.create_task(feed.run(), name=f"feed {feed.name}")
            for controller in self._controllers:
                group.create_task(controller.run(), name=f"controller {controller.name}")
            for task in self._tasks:
                group.create_task(_awaited(task()))
            group.create_task(self._freeze_when_synced(), name="freeze")

    def why_dead(self) -> str:
        """For /healthz: what only a restart heals; "" if nothing."""
        now = self._loop.time()
        for feed in self._feeds:
            silence = now - max(feed.pulse.last_active, self._started)
            if silence > DEAD_FEED_SECONDS:
                return f"feed {feed.name} did nothing for {silence:.0f} s"
        for controller in self._controllers:
            if (stuck := controller.stuck_seconds()) > STUCK_DECISION_SECONDS:
                return f"controller {controller.name} decides on one key for {stuck:.0f} s"
        return ""

    def why_not_ready(self) -> str:
        """For /readyz: what keeps the process from deciding on fresh data; "" if nothing."""
        waiting = [feed.name for feed in self._feeds if not feed.pulse.is_synced]
        return f"not synced: {', '.join(waiting)}" if waiting else ""

    async def wait_synced(self) -> None:
        """Return once every feed has held everything."""
        for feed in self._feeds:
            await feed.pulse.wait_synced()

    async def _freeze_when_synced(self) -> None:
        await self.wait_synced()
        # What the first LIST brought lives long: with it frozen, a full collection stops the loop for ~0 instead of up to seconds.
        gc.collect()
        gc.freeze()
        say(logger, logging.INFO, "synced", feeds=len(self._feeds), seconds=round(self._loop.time() - self._started, 2))

    def _synced_by_feed(self) -> dict[tuple[str, ...], float]:
        return {(feed.name,): float(feed.pulse.is_synced) for feed in self._feeds}

    def _silence_by_feed(self) -> dict[tuple[str, ...], float]:
        now = self._loop.time()
        return {(feed.name,): now - feed.pulse.last_heard for feed in self._feeds if feed.pulse.last_heard}

    def _undecodable_by_feed(self) -> dict[tuple[str, ...], float]:
        return {(feed.name,): float(feed.pulse.undecodable) for feed in self._feeds}


async def _awaited(task: Awaitable[None]) -> None:
    await task
