"""Pushes to a repository and its packing take turns.

git removes emptied object folders while it packs; a push that is about to move its objects into such a folder is then refused with
"unable to migrate objects". Both run below this one process, so it keeps them apart.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

WAIT_SECONDS = 60.0
"""How long either waits for the other. Packing takes seconds, being geometric; a push as long as its sender likes."""


class Turns:
    """Who is at work on which repository. For one event loop."""

    def __init__(self) -> None:
        self._pushes: Counter[Path] = Counter()
        self._packing: set[Path] = set()
        self._changed = asyncio.Condition()

    @contextlib.asynccontextmanager
    async def push(self, path: Path) -> AsyncIterator[None]:
        """Push in this block: packing waits for its end. A packing that lasts too long is no longer waited for; the push may be refused."""
        await self._until(lambda: path not in self._packing)
        self._pushes[path] += 1
        try:
            yield
        finally:
            self._pushes[path] -= 1
            if not self._pushes[path]:
                del self._pushes[path]
            await self._tell()

    @contextlib.asynccontextmanager
    async def packing(self, path: Path) -> AsyncIterator[bool]:
        """Pack in this block: pushes that come meanwhile wait for its end.

        Yields:
            False when those under way did not end in time; then pack another time.
        """
        self._packing.add(path)
        try:
            yield await self._until(lambda: path not in self._pushes)
        finally:
            self._packing.discard(path)
            await self._tell()

    async def _until(self, check: Callable[[], bool]) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WAIT_SECONDS), self._changed:
                await self._changed.wait_for(check)
        return check()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()
