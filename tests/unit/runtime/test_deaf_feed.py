"""A feed without a connection says so: what it did not hear then proves nothing."""

from __future__ import annotations

import asyncio

from gastown.api.core import Lease
from gastown.api.kinds import LEASE
from gastown.kube.aio import Client
from gastown.kube.configuration import Configuration
from gastown.kube.retry import NO_RETRY
from gastown.runtime.informer import Informer
from gastown.runtime.store import Store
from support.scripted_server import ScriptedServer, answer, failure, stream


def test_a_feed_was_deaf_as_long_as_its_server_was_away() -> None:
    listing = answer(200, {"metadata": {"resourceVersion": "5"}, "items": []})

    async def inside() -> tuple[float, float]:
        with ScriptedServer() as server:
            server.then(failure(503, "ServiceUnavailable"), listing, stream(after="close"))
            async with Client(Configuration(server=server.url), user_agent="test", policy=NO_RETRY, deadline_seconds=5) as client:
                feed = Informer(client, LEASE, Store[Lease](LEASE), namespace="town", roll=lambda: 0.0)
                task = asyncio.create_task(feed.run())
                async with asyncio.timeout(20):
                    await feed.pulse.wait_synced()
                failed, heard = feed.pulse.last_failed, feed.pulse.last_heard
                task.cancel()
                return failed, heard

    failed, heard = asyncio.run(inside())
    assert 0 < failed <= heard
