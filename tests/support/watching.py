"""Watches of the API server beside a test, in a thread of their own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from gastown.api.kinds import Kind
from gastown.kube.aio import Client
from gastown.kube.decoding import WatchEvent
from support.cluster import Cluster

Watch = tuple[Kind, Callable[[WatchEvent], None]]
"""What is watched, and who hears each event but bookmarks, objects as JSON; called in the thread."""


@contextmanager
def watching(cluster: Cluster, namespace: str, watches: Sequence[Watch]) -> Iterator[None]:
    """Watch for the length of a block, from the versions at its begin on.

    Raises:
        Exception: At the end of the block: what a watch ended with.
    """
    stop, begun = threading.Event(), threading.Event()
    failures: list[BaseException] = []

    def watch() -> None:
        try:
            asyncio.run(_watch_all(cluster, namespace, watches, stop, begun))
        except BaseException as failure:  # noqa: BLE001 - told to the test at the end of the block
            failures.append(failure)
        finally:
            begun.set()

    thread = threading.Thread(target=watch, name="watches", daemon=True)
    thread.start()
    assert begun.wait(60)
    try:
        yield
    finally:
        stop.set()
        thread.join(60)
        if failures:
            raise failures[0]


async def _watch_all(cluster: Cluster, namespace: str, watches: Sequence[Watch], stop: threading.Event, begun: threading.Event) -> None:
    async with Client(cluster.configuration(), user_agent="watching") as client:
        versions = [(await client.list_all(kind, namespace, raw=True)).resource_version for kind, _ in watches]
        tasks = [
            asyncio.create_task(_watch(client, kind, namespace, version, hear))
            for (kind, hear), version in zip(watches, versions, strict=True)
        ]
        begun.set()
        await asyncio.to_thread(stop.wait)
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended


async def _watch(client: Client, kind: Kind, namespace: str, version: str, hear: Callable[[WatchEvent], None]) -> None:
    async for event in client.watch(kind, namespace, version, raw=True):
        if event.type != "BOOKMARK":
            hear(event)
