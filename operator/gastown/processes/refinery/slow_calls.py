"""Calls to remotes that may take long: one per key at a time, waited for briefly, finished beside the queue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from gastown.actions import Key

T = TypeVar("T")

# What takes longer goes on beside the queue; the key is looked at again when it is through.
PATIENCE_SECONDS = 5.0


class SlowCalls(Generic[T]):
    """Blocking calls in threads.

    Args:
        name: For task names.
        wake: Told the key of a call that was through only after its caller had gone on.
    """

    def __init__(self, name: str, wake: Callable[[Key], None]) -> None:
        self._name = name
        self._wake = wake
        self._tasks: dict[Key, asyncio.Task[T]] = {}

    async def call(self, key: Key, function: Callable[[], T]) -> T | None:
        """The result of `function`, or None while it runs; ask again when woken.

        While a call of the key runs, another `function` is not started. What it raises is raised here.
        """
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.create_task(asyncio.to_thread(function), name=f"{self._name} {key}")
        await asyncio.wait([task], timeout=PATIENCE_SECONDS)
        if not task.done():
            task.add_done_callback(lambda _: self._wake(key))
            return None
        del self._tasks[key]
        return task.result()
