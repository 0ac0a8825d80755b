"""An operator in a thread of this process, against a real API server; to have one killed, see `mortal_operator`."""

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
    """Counts the writes by verb and kind.

    Attributes:
        writes: What was sent, such as `PATCH beads/status`.
    """

    writes: Counter[str]

    async def _call(self, verb: str, kind: Kind, method: str, path: str, *rest: Any, **more: Any) -> bytes:
        if method != "GET" and kind.name != "Event":
            self.writes[f"{method} {kind.plural}{'/status' if '/status' in path else ''}"] += 1
        return await super()._call(verb, kind, method, path, *rest, **more)


class OperatorRun:
    """One life of an operator.

    Attributes:
        writes: Counted by verb and kind.
        is_dead: Set when it ended, for whatever reason.
        failure: What it ended with.
        stop_seconds: How long `stop` took.
    """

    def __init__(
        self,
        where: Configuration,
        namespace: str,
        prepare: Callable[[Operator], None] = lambda _: None,
        settings: Settings = SETTINGS,
    ) -> None:
        self.writes: Counter[str] = Counter()
        self.is_dead = threading.Event()
        self.failure: BaseException | None = None
        self.stop_seconds = 0.0
        self.operator: Operator | None = None
        self._where = where
        self._namespace = namespace
        self._prepare = prepare
        self._settings = settings
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
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

    def stop(self, timeout_seconds: float = 60.0) -> None:
        """End it as a SIGTERM does."""
        started = time.monotonic()
        if self._loop is not None and self._task is not None and not self.is_dead.is_set():
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(timeout_seconds)
        assert not self._thread.is_alive(), "the operator did not stop"
        self.stop_seconds = time.monotonic() - started

    def _run(self) -> None:
        try:
            asyncio.run(self._live())
        except asyncio.CancelledError:
            pass
        except BaseException as failure:  # noqa: BLE001 - told to the test by `failure`
            self.failure = failure
        finally:
            self._started.set()
            self.is_dead.set()

    async def _live(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        settings = OperatorSettings((self._namespace,), self._settings, health_port=0)
        client = CountingClient(self._where, user_agent="gastown-operator")
        client.writes = self.writes
        async with client:
            self.operator = Operator(client, settings)
            self._prepare(self.operator)
            self._started.set()
            await self.operator.run()


@contextmanager
def running_operator(where: Configuration, namespace: str, settings: Settings = SETTINGS) -> Iterator[OperatorRun]:
    """An operator for the length of the block."""
    run = OperatorRun(where, namespace, settings=settings)
    run.start()
    try:
        yield run
    finally:
        run.stop()
