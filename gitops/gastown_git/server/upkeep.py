"""Work the repo-server does between requests: locks of killed processes go, repositories that grew are packed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from aiohttp import web

from gastown_git.errors import GitopsError
from gastown_git.layout import repositories
from gastown_git.maintenance import maintain, needs_maintenance, remove_abandoned_quarantines
from gastown_git.repository import Repository
from gastown_git.server.counters import Counters
from gastown_git.server.turns import Turns
from gastown_git.stale_locks import LockWatch

LOCK_SWEEP_SECONDS = 30.0
MAINTENANCE_CHECK_SECONDS = 600.0
"""How often repositories are looked at; the look costs a few directory listings, and most find nothing to do."""

logger = logging.getLogger("gastown.repo_server")


class Upkeep:
    """Background work on all repositories below the data folder; one at a time, in threads.

    Args:
        data: Data folder.
        counters: What was done is counted here.
        turns: Packing and pushes take.
    """

    def __init__(self, data: Path, counters: Counters, turns: Turns) -> None:
        self._data = data
        self._counters = counters
        self._turns = turns
        self._watches: dict[Path, LockWatch] = {}

    async def run(self, _: web.Application) -> AsyncIterator[None]:
        """Life of the work within the application's; for `cleanup_ctx`."""
        tasks = [
            asyncio.create_task(self._repeat(LOCK_SWEEP_SECONDS, self._sweep_locks)),
            asyncio.create_task(self._repeat(MAINTENANCE_CHECK_SECONDS, self._maintain)),
        ]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _repeat(self, seconds: float, work: Callable[[Path], Awaitable[None]]) -> None:
        while True:
            for path in await asyncio.to_thread(lambda: list(repositories(self._data))):
                try:
                    await work(path)
                except (GitopsError, OSError) as error:
                    logger.warning("upkeep_failed", extra={"repository": str(path), "reason": str(error)})
            await asyncio.sleep(seconds)

    async def _sweep_locks(self, path: Path) -> None:
        removed = await asyncio.to_thread(self._watches.setdefault(path, LockWatch(path)).sweep)
        for name in removed:
            logger.warning("abandoned_lock_removed", extra={"repository": str(path), "lock": name})
        self._counters.add("gastown_repo_removed_locks_total", len(removed))

    async def _maintain(self, path: Path) -> None:
        for name in await asyncio.to_thread(remove_abandoned_quarantines, path, time.time()):
            logger.warning("abandoned_quarantine_removed", extra={"repository": str(path), "folder": name})
        if not await asyncio.to_thread(needs_maintenance, path):
            return
        async with self._turns.packing(path) as has_turn:
            if not has_turn:
                logger.info("repository_busy", extra={"repository": str(path)})
                return
            await asyncio.to_thread(maintain, Repository.open(path))
        logger.info("repository_packed", extra={"repository": str(path)})
        self._counters.add("gastown_repo_maintenances_total")
