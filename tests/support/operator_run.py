"""An operator in a thread of this process, against a real API server; it can be stopped in good order or killed at a chosen write."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gastown.api.kinds import Kind
from gastown.controllers.control_loop import Settings
from gastown.kube.aio import Client
from gastown.kube.configuration import Configuration
from gastown.processes.operator import Operator, OperatorSettings

SETTINGS = Settings(repository_url="http://repo.invalid:8080", session_image="gastown/session:test")


class CountingClient(Client):
    """Counts the writes by verb and kind, and dies with its operator at the n-th one if asked to.

    Attributes:
        writes: What was sent, such as `PATCH beads/status`.
        doom: Which write is the last one: it is sent, but its answer never arrives. None means never.
        doomed: Set when that write was sent.
    """

    writes: Counter[str]
    doom: int | None = None
    doomed: asyncio.Event

    async def _call(self, verb: str, kind: Kind, method: str, path: str, *rest: Any, **more: Any) -> bytes:
        if method == "GET" or kind.name == "Event":
            return await super()._call(verb, kind, method, path, *rest, **more)
        if self.doomed.is_set():
            await asyncio.Event().wait()
        self.writes[f"{method} {kind.plural}{'/status' if '/status' in path else ''}"] += 1
        is_last = self.doom is not None and self.writes.total() >= self.doom
        if is_last:
            self.doomed.set()
        answer = await super()._call(verb, kind, method, path, *rest, **more)
        if is_last:
            await asyncio.Event().wait()
        return answer


class OperatorRun:
    """One life of an operator.

    Attributes:
        writes: Counted by verb and kind.
        is_dead: Set when it ended, for whatever reason.
        failure: What it ended with.
        stop_seconds: How long `stop` took.
    """

    def __init__(
        self, where: Configuration, namespace: str, doom: int | None = None, prepare: Callable[[Operator], None] = lambda _: None
    ) -> None:
        self.writes: Counter[str] = Counter()
        self.is_dead = threading.Event()
        self.failure: BaseException | None = None
        self.stop_seconds = 0.0
        self.operator: Operator | None = None
        self._where = where
        self._namespace = namespace
        self.doom = doom
        self._prepare = prepare
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="operator", daemon=True)

    def start(self) -> None:
        """Begin; returns when its loop runs."""
        self._thread.start()
        assert self._started.wait(30)

    def live(self) -> Operator:
        """The operator, once it runs."""
        assert self.operator is not None
        return self.operator

    def stop(self, timeout_seconds: float = 20.0) -> None:
        """End it as a SIGTERM does."""
        started = time.monotonic()
        if self._loop is not None and self.operator is not None and not self.is_dead.is_set():
            self._loop.call_soon_threadsafe(self.operator.stop)
        self._thread.join(timeout_seconds)
        assert not self._thread.is_alive(), "the operator did not stop"
        self.stop_seconds = time.monotonic() - started

    def _run(self) -> None:
        try:
            asyncio.run(self._live())
        except BaseException as failure:  # noqa: BLE001 - told to the test by `failure`
            self.failure = failure
        finally:
            self._started.set()
            self.is_dead.set()

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        settings = OperatorSettings((self._namespace,), SETTINGS, health_port=0)
        client = CountingClient(self._where, user_agent="gastown-operator")
        client.writes, client.doom, client.doomed = self.writes, self.doom, asyncio.Event()
        async with client:
            self.operator = Operator(client, settings)
            self._prepare(self.operator)
            self._started.set()
            life = asyncio.create_task(self.operator.run())
            death = asyncio.create_task(client.doomed.wait())
            await asyncio.wait([life, death], return_when=asyncio.FIRST_COMPLETED)
            if death.done():
                # As SIGKILL: nothing is finished, nothing is told. Only what was sent may have happened.
                for task in asyncio.all_tasks() - {asyncio.current_task()}:
                    task.cancel()
            death.cancel()
            await asyncio.gather(life, return_exceptions=client.doomed.is_set())


@contextmanager
def running_operator(where: Configuration, namespace: str, doom: int | None = None) -> Iterator[OperatorRun]:
    """An operator for the length of the block."""
    run = OperatorRun(where, namespace, doom)
    run.start()
    try:
        yield run
    finally:
        run.stop()
