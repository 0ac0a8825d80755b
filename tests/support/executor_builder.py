"""An executor with its client and stores, for tests against a real API server."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from gastown.actions import Action
from gastown.api.bead import Bead
from gastown.api.kinds import BEAD, Kind
from gastown.kube.aio import Client
from gastown.kube.configuration import Configuration
from gastown.runtime.executor import Executor, Outcome
from gastown.runtime.metrics import Registry
from gastown.runtime.store import Store

T = TypeVar("T")


@dataclass
class FakeClock:
    """Seconds that pass when told to."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Bench:
    """What a test of the executor holds in its hands.

    Attributes:
        beads: The executor's store of beads; no feed fills it, so what it holds came from answers or from `see`.
    """

    client: Client
    executor: Executor
    clock: FakeClock
    metrics: Registry
    beads: Store[Bead]

    async def do(self, *actions: Action) -> Outcome:
        """Carry out one decision."""
        async with asyncio.timeout(30):
            return await self.executor.execute(actions)

    async def see(self, namespace: str, name: str) -> Bead:
        """Read a bead into the store, as a feed would."""
        bead: Bead = await self.client.get(BEAD, namespace, name)
        self.beads.put(bead)
        return bead

    async def make(self, namespace: str, name: str, **spec: Any) -> Bead:
        """Create a bead by another hand, unknown to the store."""
        body = {"apiVersion": BEAD.api_version, "kind": BEAD.name, "metadata": {"name": name, "namespace": namespace}}
        made: Bead = await self.client.create(BEAD, {**body, "spec": {"title": "Greet", **spec}})
        return made

    async def beads_of(self, namespace: str) -> list[Bead]:
        """All of a namespace, as the server has them."""
        return (await self.client.list_all(BEAD, namespace)).items

    def waiting(self) -> int:
        """Writes that wait for a slot."""
        found = re.search(r"writes_waiting (\d+)", self.metrics.text())
        assert found is not None
        return int(found.group(1))

    def sent(self) -> int:
        """Requests of any kind so far."""
        return sum(self.client.requests.values())


@asynccontextmanager
async def bench(
    configuration: Configuration, *, client_type: Callable[..., Client] = Client, stored: tuple[Kind, ...] = (BEAD,)
) -> AsyncIterator[Bench]:
    """A fresh executor, as after the start of a process."""
    async with client_type(configuration, user_agent="gastown-operator", deadline_seconds=10) as client:
        clock, metrics = FakeClock(), Registry("test")
        beads: Store[Bead] = Store(BEAD, {"assignee": lambda bead: [bead.spec.assignee]})
        stores: dict[Kind, Store[Any]] = {BEAD: beads} if BEAD in stored else {}
        executor = Executor(
            client, stores, component="gastown-operator", metrics=metrics, clock=clock, wall_clock=lambda: 1.8e9 + clock.now
        )
        yield Bench(client, executor, clock, metrics, beads)


def with_bench(configuration: Configuration, act: Callable[[Bench], Awaitable[T]], *, stored: tuple[Kind, ...] = (BEAD,)) -> T:
    """Run a coroutine with a fresh executor."""

    async def inside() -> T:
        async with bench(configuration, stored=stored) as made:
            return await act(made)

    return asyncio.run(inside())


async def until(check: Callable[[], bool]) -> None:
    """Let other tasks run until the check holds."""
    async with asyncio.timeout(30):
        while not check():  # noqa: ASYNC110 - what is waited for is a count, which tells nobody
            await asyncio.sleep(0.001)
