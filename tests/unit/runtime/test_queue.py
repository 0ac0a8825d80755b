"""The work queue: what client-go promises of its own."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gastown.runtime.queue import QueueClosed, WorkQueue


class FakeTimer:
    """Time that moves when told to."""

    def __init__(self) -> None:
        self._now = 0.0
        self._numbers = itertools.count()
        self._alarms: list[tuple[float, int, FakeHandle]] = []

    def time(self) -> float:
        return self._now

    def call_at(self, when: float, callback: Callable[[], object], /) -> FakeHandle:
        handle = FakeHandle(callback)
        heapq.heappush(self._alarms, (when, next(self._numbers), handle))
        return handle

    def advance(self, seconds: float) -> None:
        until = self._now + seconds
        while self._alarms and self._alarms[0][0] <= until:
            self._now, _, handle = heapq.heappop(self._alarms)
            handle.ring()
        self._now = until


class FakeHandle:
    def __init__(self, callback: Callable[[], object]) -> None:
        self._callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self._callback = None

    def ring(self) -> None:
        if self._callback is not None:
            self._callback()


def queue_at(timer: FakeTimer) -> WorkQueue[str]:
    return WorkQueue(timer, jitter=lambda: 0.0, first_seconds=1.0, longest_seconds=16.0)


def test_a_key_added_twice_is_handed_out_once() -> None:
    queue = queue_at(FakeTimer())
    queue.add("a")
    queue.add("a")
    assert (queue.take(), queue.take()) == ("a", None)


def test_a_key_added_while_it_is_decided_comes_again_only_when_that_is_done() -> None:
    queue = queue_at(FakeTimer())
    queue.add("a")
    assert queue.take() == "a"
    queue.add("a")
    assert queue.take() is None
    queue.done("a")
    assert queue.take() == "a"


def test_the_earliest_deadline_of_a_key_counts() -> None:
    timer = FakeTimer()
    queue = queue_at(timer)
    queue.add_after("a", 10)
    queue.add_after("a", 3)
    queue.add_after("a", 7)
    timer.advance(2.9)
    assert queue.take() is None
    timer.advance(0.2)
    assert queue.take() == "a"
    queue.done("a")
    timer.advance(60)
    assert queue.take() is None


def test_a_failure_that_is_not_the_key_s_fault_waits_no_longer_than_told() -> None:
    timer = FakeTimer()
    queue = queue_at(timer)
    assert [queue.add_failed("a", 2.0) for _ in range(6)] == [1.0, 2.0, 2.0, 2.0, 2.0, 2.0]
    assert queue.add_failed("a") == 16.0


def test_looking_at_a_key_earlier_leaves_its_deadline_in_place() -> None:
    timer = FakeTimer()
    queue = queue_at(timer)
    queue.add_after("a", 5)
    queue.add("a")
    assert queue.take() == "a"
    queue.done("a")
    timer.advance(5)
    assert queue.take() == "a"


def test_the_wait_after_failures_doubles_to_a_limit_and_starts_over_after_success() -> None:
    queue = queue_at(FakeTimer())
    assert [queue.add_failed("a") for _ in range(6)] == [1.0, 2.0, 4.0, 8.0, 16.0, 16.0]
    queue.forget("a")
    assert queue.add_failed("a") == 1.0


def test_jitter_takes_away_at_most_half_of_the_wait() -> None:
    queue: WorkQueue[str] = WorkQueue(FakeTimer(), jitter=lambda: 0.999, first_seconds=1.0)
    assert 0.5 < queue.add_failed("a") < 0.51


def test_a_key_that_failed_a_thousand_times_still_has_a_wait() -> None:
    queue = queue_at(FakeTimer())
    assert [queue.add_failed("a") for _ in range(2000)][-1] == 16.0


async def _two_workers_one_cancelled() -> str:
    queue: WorkQueue[str] = WorkQueue(asyncio.get_running_loop(), jitter=lambda: 0.0)
    first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")  # wakes the first
    first.cancel()
    async with asyncio.timeout(5):
        return await second


def test_a_worker_cancelled_while_being_woken_hands_the_key_to_another() -> None:
    assert asyncio.run(_two_workers_one_cancelled()) == "a"


async def _close_and_drain() -> None:
    queue: WorkQueue[str] = WorkQueue(asyncio.get_running_loop(), jitter=lambda: 0.0)
    queue.add("a")
    queue.add("b")
    waiting = [asyncio.create_task(queue.get()) for _ in range(4)]
    await asyncio.sleep(0)
    queue.add_after("c", 0.001)
    queue.close()
    ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert [end for end in ends if isinstance(end, str)] == ["a", "b"]
    assert [type(end) for end in ends if not isinstance(end, str)] == [QueueClosed, QueueClosed]
    drained = asyncio.create_task(queue.drained())
    queue.done("a")
    await asyncio.sleep(0)
    assert not drained.done()
    queue.done("b")
    async with asyncio.timeout(5):
        await drained
    queue.add("d")
    with pytest.raises(QueueClosed):
        await queue.get()


def test_closing_ends_idle_workers_and_waits_for_the_busy_ones() -> None:
    asyncio.run(_close_and_drain())


KEYS = st.sampled_from("abcd")
SECONDS = st.integers(0, 20)


class QueueLaws(RuleBasedStateMachine):
    """Any order of calls: nothing is lost, nothing is handed out twice at once, deadlines hold."""

    def __init__(self) -> None:
        super().__init__()
        self.timer = FakeTimer()
        self.queue = queue_at(self.timer)
        # What is owed: keys that must be handed out (again), keys in hand, and the earliest deadline of each key.
        self.owed: set[str] = set()
        self.in_hand: set[str] = set()
        self.deadlines: dict[str, float] = {}

    @rule(key=KEYS)
    def add(self, key: str) -> None:
        self.queue.add(key)
        self.owed.add(key)

    @rule(key=KEYS, seconds=SECONDS)
    def add_after(self, key: str, seconds: int) -> None:
        self.queue.add_after(key, seconds)
        self._expect_at(key, seconds)

    @rule(key=KEYS)
    def fail(self, key: str) -> None:
        self._expect_at(key, self.queue.add_failed(key))

    @rule(key=KEYS)
    def forget(self, key: str) -> None:
        self.queue.forget(key)
        assert self.queue.failures(key) == 0

    @rule()
    def take(self) -> None:
        key = self.queue.take()
        if key is None:
            assert self.owed <= self.in_hand
        else:
            assert key in self.owed
            assert key not in self.in_hand
            self.owed.remove(key)
            self.in_hand.add(key)

    @precondition(lambda self: self.in_hand)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.in_hand)))
        self.in_hand.remove(key)
        self.queue.done(key)

    @rule(seconds=SECONDS)
    def wait(self, seconds: int) -> None:
        self.timer.advance(seconds)
        for key in [key for key, when in self.deadlines.items() if when <= self.timer.time()]:
            del self.deadlines[key]
            self.owed.add(key)

    @invariant()
    def counts_agree(self) -> None:
        assert len(self.queue) == len(self.owed - self.in_hand)
        assert self.queue.processing == len(self.in_hand)
        assert self.queue.delayed == len(self.deadlines)

    def teardown(self) -> None:
        while self.in_hand:
            self.queue.done(self.in_hand.pop())
        handed_out = set()
        while (key := self.queue.take()) is not None:
            handed_out.add(key)
        assert handed_out == self.owed

    def _expect_at(self, key: str, seconds: float) -> None:
        if seconds <= 0:
            self.owed.add(key)
            return
        when = self.timer.time() + seconds
        self.deadlines[key] = min(when, self.deadlines.get(key, when))


TestQueueLaws = QueueLaws.TestCase
