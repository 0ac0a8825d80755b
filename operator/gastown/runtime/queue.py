"""The work queue of a controller, with client-go's contract.

A key waiting to be decided is there once, however often it was added. A key being decided is handed to nobody else; if it is added
meanwhile, it is handed out again afterwards, because what was seen may be older than what made someone add it. Deadlines are delayed
adds. Failures come back after an exponential, jittered wait.

Time and timers come from the event loop, or in tests from anything with its `time` and `call_at`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar

K = TypeVar("K", bound=Hashable)


class Handle(Protocol):
    """A timer that was set."""

    def cancel(self) -> None: ...


class Timer(Protocol):
    """What the queue needs of an event loop."""

    def time(self) -> float: ...

    def call_at(self, when: float, callback: Callable[[], object], /) -> Handle: ...


class QueueClosed(Exception):
    """The queue was closed; the worker should return."""


class WorkQueue(Generic[K]):
    """Keys to decide.

    Args:
        timer: Usually the running event loop.
        jitter: Random numbers in [0, 1); a wait is between half and the whole of the back-off.
        first_seconds: Wait after the first failure; doubled after each further one.
        longest_seconds: Longest wait.
    """

    def __init__(self, timer: Timer, *, jitter: Callable[[], float], first_seconds: float = 0.1, longest_seconds: float = 300.0) -> None:
        self._timer = timer
        self._jitter = jitter
        self._first_seconds = first_seconds
        self._longest_seconds = longest_seconds
        self._ready: deque[K] = deque()
        # Wanted: every key in _ready, and those in _processing that were added again.
        self._wanted: set[K] = set()
        self._processing: set[K] = set()
        self._delayed: dict[K, tuple[float, Handle]] = {}
        self._failures: dict[K, int] = {}
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._idle: asyncio.Event | None = None
        self._closed = False

    def __len__(self) -> int:
        """Keys that a worker could take now."""
        return len(self._ready)

    @property
    def processing(self) -> int:
        """Keys taken and not yet done."""
        return len(self._processing)

    @property
    def delayed(self) -> int:
        """Keys with a deadline ahead."""
        return len(self._delayed)

    def add(self, key: K) -> None:
        """Have the key decided as soon as a worker is free; a deadline of it stays as it is."""
        if self._closed or key in self._wanted:
            return
        self._wanted.add(key)
        if key not in self._processing:
            self._ready.append(key)
            self._wake()

    def add_after(self, key: K, seconds: float) -> None:
        """Have the key decided later; of several deadlines of one key the earliest counts."""
        if self._closed:
            return
        if seconds <= 0:
            self.add(key)
            return
        when = self._timer.time() + seconds
        earlier = self._delayed.get(key)
        if earlier is not None:
            if earlier[0] <= when:
                return
            earlier[1].cancel()
        self._delayed[key] = (when, self._timer.call_at(when, lambda: self._due(key)))

    def add_failed(self, key: K, longest_seconds: float | None = None) -> float:
        """Have the key decided again after its back-off, which grows with each failure until `forget`.

        Args:
            longest_seconds: No wait is longer; None means that of the queue.

        Returns:
            The wait in seconds.
        """
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        # 2**60 of anything is longer than the longest wait, and a float.
        longest = self._longest_seconds if longest_seconds is None else longest_seconds
        backoff = min(self._first_seconds * 2.0 ** min(failures, 60), longest)
        wait = backoff * (1.0 - 0.5 * self._jitter())
        self.add_after(key, wait)
        return wait

    def forget(self, key: K) -> None:
        """The key was decided well: its next failure starts with the shortest wait."""
        self._failures.pop(key, None)

    def failures(self, key: K) -> int:
        """Failures since the last `forget`."""
        return self._failures.get(key, 0)

    def take(self) -> K | None:
        """A key to decide, or None when there is none now; follow it with `done`."""
        if self._closed or not self._ready:
            return None
        key = self._ready.popleft()
        self._wanted.discard(key)
        self._processing.add(key)
        return key

    async def get(self) -> K:
        """Wait for a key to decide; follow it with `done`.

        Raises:
            QueueClosed: No further keys will come.
        """
        while True:
            if self._closed:
                raise QueueClosed
            key = self.take()
            if key is not None:
                return key
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                # Cancelled after being woken: the key it was woken for needs another worker.
                if waiter.done() and not waiter.cancelled():
                    self._wake()
                raise

    def done(self, key: K) -> None:
        """The worker is finished with the key, well or not; if it was added meanwhile it is handed out again."""
        self._processing.discard(key)
        if key in self._wanted and not self._closed:
            self._ready.append(key)
            self._wake()
        if self._idle is not None and not self._processing:
            self._idle.set()

    def close(self) -> None:
        """Hand out nothing more. Keys that wait are dropped: whoever starts next looks at everything anyway."""
        self._closed = True
        for _, handle in self._delayed.values():
            handle.cancel()
        self._delayed.clear()
        self._ready.clear()
        self._wanted.clear()
        while self._waiters:
            self._wake()

    async def drained(self) -> None:
        """Wait until no key is being decided; after `close`, with a timeout of the caller."""
        if self._processing:
            self._idle = asyncio.Event()
            await self._idle.wait()

    def _due(self, key: K) -> None:
        del self._delayed[key]
        self.add(key)

    def _wake(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
