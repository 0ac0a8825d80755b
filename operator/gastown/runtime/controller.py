"""Workers over a queue: key -> what is seen -> decision -> executor.

Level-triggered: a key says where to look, never what happened. Whatever goes wrong with a key (a bug in its decider, a refused write,
a server that is away), it is looked at again after a back-off, and the other keys go on.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from gastown.actions import Action, Key
from gastown.kube.errors import ApiError
from gastown.runtime.executor import Executor, Outcome
from gastown.runtime.feed import Feed
from gastown.runtime.log import say
from gastown.runtime.metrics import Registry
from gastown.runtime.queue import QueueClosed, WorkQueue

logger = logging.getLogger(__name__)

S = TypeVar("S")

# A pod has 30 s to end; writes under way take far less, and what is cut off is decided again after the start.
SHUTDOWN_SECONDS = 5.0
# An API server that is away says nothing against the key: it is asked again this often, so that work goes on soon after it is back.
UNAVAILABLE_SECONDS = 5.0


class Controller(Generic[S]):
    """One decider with its queue. Create it inside the running event loop.

    Args:
        name: For logs and metrics.
        observe: Builds the decider's input for a key from the stores; None means there is nothing to decide (the object is gone).
        decide: What was seen and the Unix time -> the actions wanted. Pure; or awaitable, where deciding means work outside the
            API (git in a thread).
        executor: Carries them out.
        needs: Feeds that must be synced before anything is decided.
        metrics: Where decisions are counted and timed.
        workers: Keys decided at the same time; one key never by two.
        clock: Unix seconds handed to `decide`.
        jitter: Random numbers in [0, 1), for back-off.
        deadline_seconds: Of one decision with its writes; a key that takes longer counts as failed.
        on_refused: What to do when a write was refused, with what became of it: tell whom it concerns, who does not read our log.
    """

    def __init__(
        self,
        name: str,
        *,
        observe: Callable[[Key], S | None],
        decide: Callable[[S, float], Sequence[Action] | Awaitable[Sequence[Action]]],
        executor: Executor,
        needs: Sequence[Feed],
        metrics: Registry,
        workers: int = 2,
        clock: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
        deadline_seconds: float = 60.0,
        on_refused: Callable[[Key, Outcome], Sequence[Action]] | None = None,
    ) -> None:
        self.name = name
        self._observe = observe
        self._decide = decide
        self._executor = executor
        self._needs = tuple(needs)
        self._workers = workers
        self._clock = clock
        self._deadline_seconds = deadline_seconds
        self._on_refused = on_refused
        self._loop = asyncio.get_running_loop()
        self._queue: WorkQueue[Key] = WorkQueue(self._loop, jitter=jitter)
        # Key -> loop time at which its decision began.
        self._running: dict[Key, float] = {}
        self._count = metrics.counter("decisions_total", "Decisions by controller and how they ended.", ("controller", "result"))
        self._seconds = metrics.histogram("decision_seconds", "Time of a decision with its writes.", ("controller",))
        self._depth = metrics.gauge("queue_depth", "Keys that wait for a worker.", ("controller",))

    def enqueue(self, *keys: Key) -> None:
        """Look at these keys soon; cheap, deduplicated, callable from store listeners at any time, before `run` too."""
        for key in keys:
            self._queue.add(key)
        self._depth.set(len(self._queue), self.name)

    def enqueue_after(self, key: Key, seconds: float) -> None:
        """Look at a key later; the earliest of several counts."""
        self._queue.add_after(key, seconds)

    def stuck_seconds(self) -> float:
        """How long the slowest decision under way takes already; 0 when none is."""
        now = self._loop.time()
        return max((now - started for started in self._running.values()), default=0.0)

    def is_idle(self) -> bool:
        """Whether no key waits for a worker or is being decided; deadlines ahead do not count."""
        return not len(self._queue) and not self._queue.processing

    async def run(self) -> None:
        """Decide until cancelled; starts when all `needs` are synced. On cancel the decisions under way end first."""
        for feed in self._needs:
            await feed.pulse.wait_synced()
        workers = [asyncio.create_task(self._work(), name=f"{self.name}-{number}") for number in range(self._workers)]
        try:
            done, _ = await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
            for worker in done:
                worker.result()
        finally:
            self._queue.close()
            await asyncio.wait(workers, timeout=SHUTDOWN_SECONDS)
            for worker in workers:
                worker.cancel()

    async def _work(self) -> None:
        while True:
            try:
                key = await self._queue.get()
            except QueueClosed:
                return
            self._depth.set(len(self._queue), self.name)
            self._running[key] = self._loop.time()
            try:
                await self._look_at(key)
            finally:
                self._seconds.observe(self._loop.time() - self._running.pop(key), self.name)
                self._queue.done(key)
            # A decision without a write never waits for anything; a thousand in a row would keep heartbeats and probes waiting.
            await asyncio.sleep(0)

    async def _look_at(self, key: Key) -> None:
        try:
            async with asyncio.timeout(self._deadline_seconds):
                outcome = await self._decided(key)
        except TimeoutError:
            self._failed(key, "timeout", f"took longer than {self._deadline_seconds:g} s")
        except ApiError as error:
            self._failed(key, "unavailable", str(error), longest_seconds=UNAVAILABLE_SECONDS)
        except Exception as error:  # noqa: BLE001 - a bug met by one object must not stop the others
            self._failed(key, "error", f"{type(error).__name__}: {error}", error)
        else:
            self._settle(key, outcome)

    async def _decided(self, key: Key) -> Outcome:
        seen = self._observe(key)
        if seen is None:
            return Outcome()
        wanted = self._decide(seen, self._clock())
        outcome = await self._executor.execute(await wanted if inspect.isawaitable(wanted) else wanted)
        if outcome.problem and self._on_refused is not None:
            await self._executor.execute(self._on_refused(key, outcome))
        return outcome

    def _settle(self, key: Key, outcome: Outcome) -> None:
        for wake in outcome.wakes:
            self._queue.add_after(wake.key or key, wake.after_seconds)
        if outcome.problem:
            self._failed(key, "refused", outcome.problem)
        elif outcome.stale:
            # Nothing is wrong: the news is on its way and will wake the key; the back-off is for the case that it came before.
            self._count.add(self.name, "stale")
            self._queue.add_failed(key)
        else:
            self._count.add(self.name, "written" if outcome.writes else "unchanged")
            self._queue.forget(key)

    def _failed(
        self, key: Key, result: str, message: str, error: BaseException | None = None, *, longest_seconds: float | None = None
    ) -> None:
        self._count.add(self.name, result)
        wait = self._queue.add_failed(key, longest_seconds)
        say(
            logger,
            logging.ERROR if error is not None else logging.WARNING,
            "decision_failed",
            exc_info=error,
            controller=self.name,
            namespace=key[0],
            name=key[1],
            result=result,
            problem=message,
            retry_seconds=round(wait, 2),
        )
