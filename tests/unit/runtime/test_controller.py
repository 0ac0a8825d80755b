"""The loop around a decider: when it looks, when it looks again, and that one bad key spoils nothing."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from gastown.actions import Action, Key, PatchSpec, SetStatus, Wake
from gastown.api.bead import Bead
from gastown.api.kinds import BEAD
from gastown.api.meta import ObjectMeta
from gastown.kube.aio import Client
from gastown.kube.configuration import Configuration
from gastown.kube.retry import NO_RETRY
from gastown.runtime import controller as controllers
from gastown.runtime.controller import Controller
from gastown.runtime.executor import Executor
from gastown.runtime.feed import Pulse
from gastown.runtime.metrics import Registry
from gastown.runtime.store import Store
from support.becoming import becomes
from support.scripted_server import Request, Scripted, ScriptedServer, answer, failure

A: Key = ("town", "gp-a")
B: Key = ("town", "gp-b")
NOON = 1_800_000_000.0


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as started:
        yield started


@dataclass
class SyncedWhenTold:
    """A feed whose pulse the test holds."""

    name: str = "beads/town"
    pulse: Pulse = field(default_factory=Pulse)

    async def run(self) -> None:
        await asyncio.Event().wait()


@dataclass
class Loop:
    """A controller under way, and what its decider was asked."""

    controller: Controller[Key]
    feed: SyncedWhenTold
    metrics: Registry
    asked: list[Key] = field(default_factory=list)

    async def until_asked(self, times: int) -> None:
        await becomes(lambda: len(self.asked) >= times and self.controller.is_idle())


def looping(
    server: ScriptedServer,
    decide: Callable[[Key, int], Sequence[Action]],
    act: Callable[[Loop], Awaitable[None]],
    *,
    synced: bool = True,
    workers: int = 2,
    deadline_seconds: float = 5.0,
) -> None:
    """Run `act` beside a controller; `decide` gets the key and how often it was asked about it before."""

    async def inside() -> None:
        async with Client(Configuration(server=server.url), user_agent="test", policy=NO_RETRY) as client:
            metrics, feed = Registry("t"), SyncedWhenTold()
            loop = asyncio.get_running_loop()
            executor = Executor(client, {BEAD: Store(BEAD)}, component="test", metrics=metrics, clock=loop.time, wall_clock=lambda: NOON)

            def decide_and_note(key: Key, now: float) -> Sequence[Action]:
                assert now == NOON
                it.asked.append(key)
                return decide(key, it.asked.count(key) - 1)

            controller = Controller(
                "beads",
                observe=lambda key: key,
                decide=decide_and_note,
                executor=executor,
                needs=[feed],
                metrics=metrics,
                workers=workers,
                clock=lambda: NOON,
                jitter=lambda: 0.99,
                deadline_seconds=deadline_seconds,
            )
            it = Loop(controller, feed, metrics)
            if synced:
                feed.pulse.synced()
            task = asyncio.create_task(controller.run())
            try:
                await act(it)
                assert not task.done(), task.exception()
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    asyncio.run(inside())


def status_of(name: str, phase: str) -> SetStatus:
    bead = Bead(metadata=ObjectMeta(name=name, namespace="town", resourceVersion="7", uid="u"))
    return SetStatus(bead, {"phase": phase})


WRITTEN = answer(200, {"metadata": {"name": "gp-a", "namespace": "town", "resourceVersion": "8"}})


def test_nothing_is_decided_before_the_feeds_are_synced(server: ScriptedServer) -> None:
    async def act(it: Loop) -> None:
        it.controller.enqueue(A)
        for _ in range(20):
            await asyncio.sleep(0)
        assert it.asked == []
        it.feed.pulse.synced()
        await it.until_asked(1)

    looping(server, lambda _key, _before: [], act, synced=False)


def test_a_key_enqueued_many_times_is_looked_at_once(server: ScriptedServer) -> None:
    async def act(it: Loop) -> None:
        it.controller.enqueue(A, A, B, A)
        await it.until_asked(2)
        assert sorted(it.asked) == [A, B]
        assert 't_decisions_total{controller="beads",result="unchanged"} 2' in it.metrics.text()

    looping(server, lambda _key, _before: [], act)


def test_a_decider_that_fails_on_one_key_is_asked_again_and_the_others_go_on(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    def decide(key: Key, before: int) -> list[Action]:
        if key == A and before < 2:
            raise KeyError("a bug")
        return []

    async def act(it: Loop) -> None:
        it.controller.enqueue(A, B)
        await it.until_asked(4)
        assert it.asked.count(A) == 3
        assert it.asked.count(B) == 1

    with caplog.at_level(logging.ERROR):
        looping(server, decide, act, workers=1)
    record = caplog.records[0]
    assert record.getMessage() == "decision_failed"
    assert record.exc_info is not None
    assert (record.fields["controller"], record.fields["name"]) == ("beads", "gp-a")  # type: ignore[attr-defined]


def test_a_stale_decision_is_taken_again(server: ScriptedServer) -> None:
    server.then(failure(409, "Conflict"), WRITTEN)

    async def act(it: Loop) -> None:
        it.controller.enqueue(A)
        await it.until_asked(2)
        assert 't_decisions_total{controller="beads",result="stale"} 1' in it.metrics.text()
        assert 't_decisions_total{controller="beads",result="written"} 1' in it.metrics.text()

    looping(server, lambda _key, _before: [status_of("gp-a", "Ready")], act)


def test_a_server_in_trouble_is_asked_again_later(server: ScriptedServer) -> None:
    server.then(failure(503, "Unavailable"), failure(429, "TooManyRequests"), WRITTEN)

    async def act(it: Loop) -> None:
        it.controller.enqueue(A)
        await it.until_asked(3)
        assert 't_decisions_total{controller="beads",result="unavailable"} 2' in it.metrics.text()

    looping(server, lambda _key, _before: [status_of("gp-a", "Ready")], act)


def test_a_key_comes_back_soon_after_a_server_that_was_away_for_long(server: ScriptedServer, caplog: pytest.LogCaptureFixture) -> None:
    server.then(*[failure(503, "Unavailable")] * 14, WRITTEN)

    async def act(it: Loop) -> None:
        it.controller.enqueue(A)
        await it.until_asked(15)

    with caplog.at_level(logging.WARNING), pytest.MonkeyPatch.context() as patched:
        patched.setattr(controllers, "UNAVAILABLE_SECONDS", 0.02)
        looping(server, lambda _key, _before: [status_of("gp-a", "Ready")], act)
    waits = [record.fields["retry_seconds"] for record in caplog.records if record.message == "decision_failed"]  # type: ignore[attr-defined]
    assert len(waits) == 14
    assert max(waits) <= 0.02


def test_a_refused_write_is_told_with_its_reason(server: ScriptedServer, caplog: pytest.LogCaptureFixture) -> None:
    server.then(failure(403, "Forbidden", "no right to patch beads"))

    async def act(it: Loop) -> None:
        it.controller.enqueue(A)
        await it.until_asked(1)

    with caplog.at_level(logging.WARNING):
        looping(server, lambda _key, _before: [status_of("gp-a", "Ready")], act)
    assert "no right to patch beads" in caplog.records[0].fields["problem"]  # type: ignore[attr-defined]


def test_a_wake_looks_again_at_its_key_or_another(server: ScriptedServer) -> None:
    async def act(it: Loop) -> None:
        it.controller.enqueue(A)
        await it.until_asked(3)
        assert it.asked.count(A) == 2
        assert it.asked.count(B) == 1

    looping(server, lambda key, before: [Wake(0.001), Wake(0.001, key=B)] if key == A and not before else [], act)


def test_a_vanished_object_needs_no_decision(server: ScriptedServer) -> None:
    async def inside() -> None:
        async with Client(Configuration(server=server.url), user_agent="test") as client:
            metrics = Registry("t")
            executor = Executor(client, {}, component="test", metrics=metrics, clock=lambda: 0.0, wall_clock=lambda: 0.0)

            def never(seen: object, now: float) -> list[Action]:
                raise AssertionError("decided on nothing")

            controller: Controller[object] = Controller(
                "beads", observe=lambda _: None, decide=never, executor=executor, needs=[], metrics=metrics
            )
            task = asyncio.create_task(controller.run())
            controller.enqueue(A)
            await becomes(lambda: 'result="unchanged"} 1' in metrics.text())
            task.cancel()

    asyncio.run(inside())


def test_one_key_is_never_decided_twice_at_the_same_time(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controllers, "SHUTDOWN_SECONDS", 0.05)

    async def act(it: Loop) -> None:
        it.controller.enqueue(A)
        await becomes(lambda: bool(server.requests))
        it.controller.enqueue(A, B)
        await becomes(lambda: B in it.asked)
        assert it.asked.count(A) == 1
        assert it.controller.stuck_seconds() > 0

    looping(server, lambda key, _before: [status_of("gp-a", "Ready")] if key == A else [], act)


def test_a_decision_beyond_its_deadline_is_given_up_and_taken_again(server: ScriptedServer) -> None:
    async def act(it: Loop) -> None:
        it.controller.enqueue(A)
        await it.until_asked(2)
        assert 't_decisions_total{controller="beads",result="timeout"} 1' in it.metrics.text()

    looping(server, lambda _key, before: [] if before else [status_of("gp-a", "Ready")], act, deadline_seconds=0.1)


def test_a_decision_under_way_is_ended_before_the_controller_is(server: ScriptedServer) -> None:
    """Two writes: the controller is told to stop while the first is under way, and both are made."""
    answered = threading.Event()

    def first(_: Request) -> Scripted:
        answered.wait(5)
        return WRITTEN

    async def act(it: Loop) -> None:
        it.controller.enqueue(A)
        await becomes(lambda: bool(server.requests))
        asyncio.get_running_loop().call_later(0.05, answered.set)  # the controller is told to stop before that

    bead = Bead(metadata=ObjectMeta(name="gp-a", namespace="town", resourceVersion="7", uid="u"))
    second = answer(200, {"metadata": {"name": "gp-a", "namespace": "town", "resourceVersion": "9"}})
    server.then(first, second)
    looping(server, lambda _key, _before: [PatchSpec(bead, {"state": "closed"}), SetStatus(bead, {"phase": "Closed"})], act)
    assert len(server.requests) == 2


def test_a_decision_that_hangs_does_not_keep_the_process_from_ending(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controllers, "SHUTDOWN_SECONDS", 0.05)

    async def act(it: Loop) -> None:
        it.controller.enqueue(A)
        await becomes(lambda: bool(server.requests))

    looping(server, lambda _key, _before: [status_of("gp-a", "Ready")], act)


def test_ten_thousand_keys_leave_room_for_heartbeats(server: ScriptedServer) -> None:
    async def act(it: Loop) -> None:
        gaps: list[float] = []

        async def heartbeat() -> None:
            loop = asyncio.get_running_loop()
            last = loop.time()
            while True:
                await asyncio.sleep(0)
                gaps.append(loop.time() - last)
                last = loop.time()

        beating = asyncio.create_task(heartbeat())
        it.controller.enqueue(*(("town", f"gp-{number}") for number in range(10_000)))
        await becomes(it.controller.is_idle)
        beating.cancel()
        assert len(gaps) > 4_000  # between them a beat for every few decisions, not one for all

    looping(server, lambda _key, _before: [], act)
