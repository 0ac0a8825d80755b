"""Both feed engines keep a store equal to a real API server, whatever happens to their connections."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import gc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import kopf
import pytest

from gastown.api.bead import Bead
from gastown.api.kinds import BEAD
from gastown.kube.aio import Client
from gastown.kube.configuration import Configuration
from gastown.runtime import informer as informers
from gastown.runtime.feed import Feed
from gastown.runtime.informer import Informer
from gastown.runtime.kopf_feed import KopfFeed, connection_info, quieten
from gastown.runtime.store import Store
from support.becoming import becomes
from support.cluster import Cluster
from support.proxy import Proxy, proxy_to

pytestmark = pytest.mark.cluster
NEVER = 3600.0


@dataclass
class Fed:
    """A running feed.

    Attributes:
        direct: A client that does not go through the proxy: the hand that changes things.
    """

    feed: Feed
    store: Store[Bead]
    direct: Client
    proxy: Proxy
    namespace: str

    def held(self) -> dict[str, int]:
        return {bead.metadata.name: bead.spec.priority for bead in self.store.all()}

    async def make(self, name: str, priority: int = 2, labels: dict[str, str] | None = None) -> None:
        metadata = {"name": name, "namespace": self.namespace, "labels": labels or {}}
        body = {"apiVersion": BEAD.api_version, "kind": "Bead", "metadata": metadata, "spec": {"title": "Greet", "priority": priority}}
        await self.direct.create(BEAD, body)

    async def change(self, name: str, priority: int) -> None:
        await self.direct.merge_patch(BEAD, self.namespace, name, {"spec": {"priority": priority}})

    async def delete(self, name: str) -> None:
        await self.direct.delete(BEAD, self.namespace, name)

    async def holds(self, expected: dict[str, int], timeout_seconds: float = 15.0) -> None:
        """Wait until the store holds exactly that."""
        await becomes(lambda: self.held() == expected, timeout_seconds, lambda: f"holds {self.held()}, not {expected}")


@asynccontextmanager
async def informing(client: Client, store: Store[Bead], namespace: str, relist_seconds: float) -> AsyncIterator[Feed]:
    feed = Informer(client, BEAD, store, namespace=namespace, relist_seconds=relist_seconds)
    task = asyncio.create_task(feed.run())
    try:
        yield feed
        assert not task.done(), task.exception()
    finally:
        task.cancel()


@asynccontextmanager
async def kopf_feeding(client: Client, store: Store[Bead], namespace: str, relist_seconds: float) -> AsyncIterator[Feed]:
    registry, settings = kopf.OperatorRegistry(), kopf.OperatorSettings()
    quieten(settings)

    @kopf.on.login(registry=registry)
    def log_in(**_: Any) -> kopf.ConnectionInfo:
        return connection_info(client.configuration, dt.datetime.now(dt.UTC))

    feed = KopfFeed(client, BEAD, store, registry=registry, namespaces=[namespace], relist_seconds=relist_seconds)
    stop, ready = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(feed.run())
    operator = asyncio.create_task(
        kopf.operator(registry=registry, settings=settings, namespaces=[namespace], standalone=True, stop_flag=stop, ready_flag=ready)
    )
    try:
        async with asyncio.timeout(20):
            await ready.wait()
        yield feed
        assert not operator.done(), operator.exception()
    finally:
        stop.set()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait_for(operator, 20)


ENGINES = {"informer": informing, "kopf": kopf_feeding}


@pytest.fixture(params=sorted(ENGINES))
def engine(request: pytest.FixtureRequest) -> Any:
    return ENGINES[request.param]


@pytest.fixture
def proxy(api_server: Cluster) -> Iterator[Proxy]:
    with proxy_to(api_server.configuration()) as started:
        yield started


def fed(
    engine: Any, api_server: Cluster, proxy: Proxy, namespace: str, act: Callable[[Fed], Any], *, relist_seconds: float = NEVER
) -> None:
    """Run `act` beside a feed that goes through the proxy."""
    direct: Configuration = api_server.configuration()

    async def inside() -> None:
        store: Store[Bead] = Store(BEAD)
        async with (
            Client(proxy.configuration, user_agent="feed") as client,
            Client(direct, user_agent="test") as hand,
            engine(client, store, namespace, relist_seconds) as feed,
        ):
            await act(Fed(feed, store, hand, proxy, namespace))

    asyncio.run(inside())
    gc.collect()


def test_a_feed_tells_what_is_there_and_then_what_changes(engine: Any, api_server: Cluster, proxy: Proxy, namespace: str) -> None:
    api_server.apply(
        {"apiVersion": BEAD.api_version, "kind": "Bead", "metadata": {"name": "gp-1", "namespace": namespace}, "spec": {"title": "t"}}
    )

    async def act(it: Fed) -> None:
        async with asyncio.timeout(15):
            await it.feed.pulse.wait_synced()
        assert it.held() == {"gp-1": 2}
        await becomes(lambda: proxy.count("GET", "watch=") > 0)
        await it.make("gp-2", 1)
        await it.holds({"gp-1": 2, "gp-2": 1})
        await it.change("gp-1", 0)
        await it.delete("gp-2")
        await it.holds({"gp-1": 0})

    fed(engine, api_server, proxy, namespace, act)


def test_an_empty_kind_is_synced_too(engine: Any, api_server: Cluster, proxy: Proxy, namespace: str) -> None:
    async def act(it: Fed) -> None:
        async with asyncio.timeout(15):
            await it.feed.pulse.wait_synced()

    fed(engine, api_server, proxy, namespace, act)


def test_what_vanished_while_the_watch_was_cut_off_is_no_ghost(engine: Any, api_server: Cluster, proxy: Proxy, namespace: str) -> None:
    async def act(it: Fed) -> None:
        for number in range(4):
            await it.make(f"gp-{number}")
        await it.holds({f"gp-{number}": 2 for number in range(4)})
        await becomes(lambda: proxy.count("GET", "watch=") > 0)
        proxy.is_down = True
        proxy.cut_streams()
        await it.delete("gp-0")
        await it.delete("gp-1")
        await it.change("gp-2", 4)
        await it.make("gp-9", 1)
        proxy.refuse_watches = 1  # as after a compaction: the events of the gap are gone for good
        proxy.is_down = False
        await it.holds({"gp-2": 4, "gp-3": 2, "gp-9": 1}, timeout_seconds=30)

    fed(engine, api_server, proxy, namespace, act)


def test_a_feed_writes_nothing_and_marks_nothing(engine: Any, api_server: Cluster, proxy: Proxy, namespace: str) -> None:
    async def act(it: Fed) -> None:
        for number in range(5):
            await it.make(f"gp-{number}")
        for number in range(5):
            await it.change(f"gp-{number}", 0)
        await it.holds({f"gp-{number}": 0 for number in range(5)})
        for bead in (await it.direct.list_all(BEAD, namespace, raw=True)).items:
            assert "finalizers" not in bead["metadata"]
            assert "annotations" not in bead["metadata"]

    fed(engine, api_server, proxy, namespace, act)
    assert proxy.writes() == []


def test_an_idle_feed_asks_for_nothing(engine: Any, api_server: Cluster, proxy: Proxy, namespace: str) -> None:
    async def act(it: Fed) -> None:
        await it.make("gp-1")
        await it.holds({"gp-1": 2})
        await becomes(lambda: proxy.count("GET", "watch=") > 0)
        await it.make("gp-2")
        await it.holds({"gp-1": 2, "gp-2": 2})
        quiet_seconds, asked = 0.0, -1
        async with asyncio.timeout(30):
            while quiet_seconds < 2.0:
                quiet_seconds = quiet_seconds + 0.1 if asked == len(proxy.seen) else 0.0
                asked = len(proxy.seen)
                await asyncio.sleep(0.1)

    fed(engine, api_server, proxy, namespace, act)


def test_a_second_process_sees_the_same(engine: Any, api_server: Cluster, proxy: Proxy, namespace: str) -> None:
    async def first(it: Fed) -> None:
        await it.make("gp-1")
        await it.make("gp-2")
        await it.holds({"gp-1": 2, "gp-2": 2})

    async def second(it: Fed) -> None:
        await it.delete("gp-2")
        await it.holds({"gp-1": 2})

    fed(engine, api_server, proxy, namespace, first)
    fed(engine, api_server, proxy, namespace, second)


def test_an_object_that_stops_matching_a_selector_leaves_the_store(api_server: Cluster, proxy: Proxy, namespace: str) -> None:
    @asynccontextmanager
    async def selecting(client: Client, store: Store[Bead], where: str, relist_seconds: float) -> AsyncIterator[Feed]:
        feed = Informer(client, BEAD, store, namespace=where, label_selector="active=true", relist_seconds=relist_seconds)
        task = asyncio.create_task(feed.run())
        yield feed
        task.cancel()

    async def act(it: Fed) -> None:
        await it.make("gp-1", labels={"active": "true"})
        await it.make("gp-2")
        await it.holds({"gp-1": 2})
        await it.direct.merge_patch(BEAD, namespace, "gp-1", {"metadata": {"labels": {"active": "false"}}})
        await it.holds({})
        await it.direct.merge_patch(BEAD, namespace, "gp-1", {"metadata": {"labels": {"active": "true"}}})
        await it.holds({"gp-1": 2})

    fed(selecting, api_server, proxy, namespace, act)


def test_an_informer_outlasts_a_server_that_is_away(
    api_server: Cluster, proxy: Proxy, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(informers, "LONGEST_BACKOFF_SECONDS", 0.3)
    proxy.is_down = True

    async def act(it: Fed) -> None:
        await becomes(lambda: len(proxy.seen) >= 3)
        assert not it.feed.pulse.is_synced
        await it.make("gp-1")
        proxy.is_down = False
        await it.holds({"gp-1": 2}, timeout_seconds=30)

    fed(informing, api_server, proxy, namespace, act)
