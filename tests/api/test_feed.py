"""Both feed engines keep a store equal to a real API server, whatever happens to their connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from gastown.api.bead import Bead
from gastown.api.kinds import BEAD
from gastown.kube.aio import Client
from gastown.runtime.feed import Feed
from gastown.runtime.informer import Informer
from gastown.runtime.store import Store
from support.becoming import becomes
from support.cluster import Cluster
from support.feeding import Engine, Fed, Ways, engine, fed
from support.proxy import Proxy, proxy_to

__all__ = ["engine"]
pytestmark = pytest.mark.cluster


@pytest.fixture
def proxy(api_server: Cluster) -> Iterator[Proxy]:
    with proxy_to(api_server.configuration()) as started:
        yield started


def test_a_feed_tells_what_is_there_and_then_what_changes(engine: Engine, api_server: Cluster, proxy: Proxy, namespace: str) -> None:
    api_server.apply(
        {"apiVersion": BEAD.api_version, "kind": "Bead", "metadata": {"name": "gp-1", "namespace": namespace}, "spec": {"title": "t"}}
    )

    async def act(it: Fed) -> None:
        async with asyncio.timeout(60):
            await it.feed.pulse.wait_synced()
        assert it.held() == {"gp-1": 2}
        await becomes(lambda: proxy.count("GET", "watch=") > 0)
        await it.make("gp-2", 1)
        await it.holds({"gp-1": 2, "gp-2": 1})
        await it.change("gp-1", 0)
        await it.delete("gp-2")
        await it.holds({"gp-1": 0})

    fed(engine, api_server.configuration(), proxy, namespace, act)


def test_an_empty_kind_is_synced_too(engine: Engine, api_server: Cluster, proxy: Proxy, namespace: str) -> None:
    async def act(it: Fed) -> None:
        async with asyncio.timeout(60):
            await it.feed.pulse.wait_synced()

    fed(engine, api_server.configuration(), proxy, namespace, act)


def test_what_vanished_while_the_watch_was_cut_off_is_no_ghost(engine: Engine, api_server: Cluster, proxy: Proxy, namespace: str) -> None:
    async def act(it: Fed) -> None:
        for number in range(4):
            await it.make(f"gp-{number}")
        await it.holds({f"gp-{number}": 2 for number in range(4)})
        await becomes(lambda: proxy.count("GET", "watch=") > 0)
        await it.goes_away()
        await it.delete("gp-0")
        await it.delete("gp-1")
        await it.change("gp-2", 4)
        await it.make("gp-9", 1)
        proxy.refuse_watches = 1  # as after a compaction: the events of the gap are gone for good
        proxy.is_down = False
        await it.holds({"gp-2": 4, "gp-3": 2, "gp-9": 1})

    fed(engine, api_server.configuration(), proxy, namespace, act)


def test_a_feed_writes_nothing_and_marks_nothing(engine: Engine, api_server: Cluster, proxy: Proxy, namespace: str) -> None:
    async def act(it: Fed) -> None:
        for number in range(5):
            await it.make(f"gp-{number}")
        for number in range(5):
            await it.change(f"gp-{number}", 0)
        await it.holds({f"gp-{number}": 0 for number in range(5)})
        for bead in (await it.direct.list_all(BEAD, namespace, raw=True)).items:
            assert "finalizers" not in bead["metadata"]
            assert "annotations" not in bead["metadata"]

    fed(engine, api_server.configuration(), proxy, namespace, act)
    assert proxy.writes() == []


def test_an_idle_feed_asks_for_nothing(engine: Engine, api_server: Cluster, proxy: Proxy, namespace: str) -> None:
    async def act(it: Fed) -> None:
        await it.make("gp-1")
        await it.holds({"gp-1": 2})
        await becomes(lambda: proxy.count("GET", "watch=") > 0)
        await it.make("gp-2")
        await it.holds({"gp-1": 2, "gp-2": 2})
        quiet_seconds, asked = 0.0, -1
        async with asyncio.timeout(60):
            while quiet_seconds < 2.0:
                quiet_seconds = quiet_seconds + 0.1 if asked == len(proxy.seen) else 0.0
                asked = len(proxy.seen)
                await asyncio.sleep(0.1)

    fed(engine, api_server.configuration(), proxy, namespace, act)


def test_a_second_process_sees_the_same(engine: Engine, api_server: Cluster, proxy: Proxy, namespace: str) -> None:
    async def first(it: Fed) -> None:
        await it.make("gp-1")
        await it.make("gp-2")
        await it.holds({"gp-1": 2, "gp-2": 2})

    async def second(it: Fed) -> None:
        await it.delete("gp-2")
        await it.holds({"gp-1": 2})

    fed(engine, api_server.configuration(), proxy, namespace, first)
    fed(engine, api_server.configuration(), proxy, namespace, second)


def test_an_object_that_stops_matching_a_selector_leaves_the_store(api_server: Cluster, proxy: Proxy, namespace: str) -> None:
    @asynccontextmanager
    async def selecting(client: Client, store: Store[Bead], namespace: str, ways: Ways) -> AsyncIterator[Feed]:
        feed = Informer(client, BEAD, store, namespace=namespace, label_selector="active=true", relist_seconds=ways.relist_seconds)
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

    fed(selecting, api_server.configuration(), proxy, namespace, act)


def test_a_feed_outlasts_a_server_that_is_away_from_the_start(engine: Engine, api_server: Cluster, proxy: Proxy, namespace: str) -> None:
    proxy.is_down = True

    async def act(it: Fed) -> None:
        await becomes(lambda: len(proxy.seen) >= 3)
        assert not it.feed.pulse.is_synced
        await it.make("gp-1")
        proxy.is_down = False
        await it.holds({"gp-1": 2})

    fed(engine, api_server.configuration(), proxy, namespace, act)
