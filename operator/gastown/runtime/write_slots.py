"""How many writes may be in flight, and which goes first when they have to wait."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import IntEnum


class Priority(IntEnum):
    """Who goes first: what lets work start, before what reports about it."""

    BINDING = 0
    CREATE = 1
    STATUS = 2
    ROLL_UP = 3
    EVENT = 4


class WriteSlots:
    """A semaphore whose waiters are served by priority, then in their order.

    Args:
        count: The API server's CPU is the limit of the whole system: four writers reach 85 % of its ceiling, more only queue there,
            where nobody sorts them.
    """

    def __init__(self, count: int = 4) -> None:
        self._free = count
        self._arrivals = 0
        self._waiting: list[tuple[Priority, int, asyncio.Future[None]]] = []

    @property
    def waiting(self) -> int:
        """Writes that wait for a slot."""
        return sum(not waiter.done() for _, _, waiter in self._waiting)

    @asynccontextmanager
    async def slot(self, priority: Priority) -> AsyncIterator[None]:
        """Hold a slot for the length of the block."""
        await self._acquire(priority)
        try:
            yield
        finally:
            self._release()

    async def _acquire(self, priority: Priority) -> None:
        if self._free > 0:  # then nobody waits: a release hands its slot on
            self._free -= 1
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._arrivals += 1
        heapq.heappush(self._waiting, (priority, self._arrivals, waiter))
        try:
            await waiter
        except asyncio.CancelledError:
            # Cancelled in the very moment the slot came: it must not be lost.
            if waiter.done() and not waiter.cancelled():
                self._release()
            raise

    def _release(self) -> None:
        while self._waiting:
            _, _, waiter = heapq.heappop(self._waiting)
            if not waiter.done():
                waiter.set_result(None)
                return
        self._free += 1
