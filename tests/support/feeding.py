"""A feed of beads on a real API server behind a proxy, by either engine: what the tests of the feed contract share."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import kopf
import pytest

from gastown.api.bead import Bead, BeadSpec
from gastown.api.kinds import BEAD, Kind
from gastown.kube.aio import Client
from gastown.kube.configuration import Configuration
from gastown.runtime.feed import Feed
from gastown.runtime.informer import Informer
from gastown.runtime.kopf_engine import KopfEngine
from gastown.runtime.kopf_feed import KopfFeed
from gastown.runtime.store import Change, Store
from support.becoming import becomes
from support.proxy import Proxy

NEVER = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PickySpec(BeadSpec):
    """As the spec of another version of ours, of which this program knows one value only."""

    priority: Literal[2] = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PickyBead(Bead):
    """A bead with it."""

    spec: PickySpec = field(default_factory=PickySpec)


PICKY_BEAD = Kind("PickyBead", BEAD.plural, BEAD.group, BEAD.version, "support.feeding")


@dataclass(frozen=True)
class Ways:
    """How a feed is set up.

    Attributes:
        relist_seconds: By default never within a test, so that what heals is not this.
        silence_seconds: After which a watch that tells nothing counts as dead.
        kind: Beads, perhaps with a dataclass of the test's own.
        configure: Makes the client's configuration from the proxy's.
    """

    relist_seconds: float = NEVER
    silence_seconds: float = 60.0
    kind: Kind = BEAD
    configure: Callable[[Configuration], Configuration] = lambda given: given


PLAIN = Ways()


class Engine(Protocol):
    """Runs a feed for the length of the block."""

    def __call__(self, client: Client, store: Store[Bead], namespace: str, ways: Ways) -> AbstractAsyncContextManager[Feed]: ...


@dataclass
class Fed:
    """A running feed.

    Attributes:
        direct: A client that does not go through the proxy: the hand that changes things.
        told: What the store told its listeners, in order.
    """

    feed: Feed
    store: Store[Bead]
    direct: Client
    proxy: Proxy
    namespace: str
    told: list[Change[Bead]] = field(default_factory=list)

    def held(self) -> dict[str, int]:
        """Name -> priority."""
        return {bead.metadata.name: bead.spec.priority for bead in self.store.all()}

    def news(self, name: str) -> list[str]:
        """What listeners were told about one bead."""
        return [change.type for change in self.told if change.key[1] == name]

    async def make(self, name: str, priority: int = 2, labels: dict[str, str] | None = None) -> None:
        """Create a bead."""
        metadata = {"name": name, "namespace": self.namespace, "labels": labels or {}}
        body = {"apiVersion": BEAD.api_version, "kind": "Bead", "metadata": metadata, "spec": {"title": "Greet", "priority": priority}}
        await self.direct.create(BEAD, body)

    async def change(self, name: str, priority: int) -> None:
        """Change the priority of a bead."""
        await self.direct.merge_patch(BEAD, self.namespace, name, {"spec": {"priority": priority}})

    async def delete(self, name: str) -> None:
        """Delete a bead."""
        await self.direct.delete(BEAD, self.namespace, name)

    async def holds(self, expected: dict[str, int], timeout_seconds: float = 60.0) -> None:
        """Wait until the store holds exactly that."""
        await becomes(lambda: self.held() == expected, timeout_seconds, lambda: f"holds {self.held()}, not {expected}")

    async def goes_away(self) -> None:
        """Have the proxy drop everything until `proxy.is_down` is False again; returns when no watch is open."""
        self.proxy.is_down = True
        self.proxy.cut_streams()
        await becomes(lambda: self.proxy.open_streams == 0)

    async def watches(self, timeout_seconds: float = 60.0) -> None:
        """Wait until the feed is synced and watches."""
        async with asyncio.timeout(timeout_seconds):
            await self.feed.pulse.wait_synced()
        await becomes(lambda: self.proxy.open_streams > 0, timeout_seconds, lambda: "does not watch")


@asynccontextmanager
async def informing(client: Client, store: Store[Bead], namespace: str, ways: Ways) -> AsyncIterator[Feed]:
    """The informer."""
    feed = Informer(client, ways.kind, store, namespace=namespace, relist_seconds=ways.relist_seconds, silence_seconds=ways.silence_seconds)
    task = asyncio.create_task(feed.run())
    try:
        yield feed
        assert not task.done(), task.exception()
    finally:
        task.cancel()


@asynccontextmanager
async def kopf_feeding(client: Client, store: Store[Bead], namespace: str, ways: Ways) -> AsyncIterator[Feed]:
    """kopf."""
    registry = kopf.OperatorRegistry()
    feed = KopfFeed(
        client, ways.kind, store, registry=registry, namespaces=[namespace], relist_seconds=ways.relist_seconds, poll_seconds=NEVER
    )
    engine = KopfEngine(client.configuration, registry, [feed], [namespace], silence_seconds=ways.silence_seconds)
    tasks = [asyncio.create_task(feed.run()), asyncio.create_task(engine.run())]
    try:
        yield feed
        for task in tasks:
            assert not task.done(), task.exception()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


ENGINES: dict[str, Engine] = {"informer": informing, "kopf": kopf_feeding}


@pytest.fixture(params=sorted(ENGINES))
def engine(request: pytest.FixtureRequest) -> Any:
    """Each engine in turn."""
    return ENGINES[request.param]


def fed(engine: Engine, direct: Configuration, proxy: Proxy, namespace: str, act: Callable[[Fed], Any], ways: Ways = PLAIN) -> None:
    """Run `act` beside a feed that goes through the proxy.

    Args:
        direct: Of the hand that changes things.
    """

    async def inside() -> None:
        store: Store[Bead] = Store(ways.kind)
        told: list[Change[Bead]] = []
        store.subscribe(told.append)
        async with (
            Client(ways.configure(proxy.configuration), user_agent="feed") as client,
            Client(direct, user_agent="test") as hand,
            engine(client, store, namespace, ways) as feed,
        ):
            await act(Fed(feed, store, hand, proxy, namespace, told))

    asyncio.run(inside())
    gc.collect()
