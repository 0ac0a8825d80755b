"""When something became true of an object, as a watcher of the API server sees it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from gastown.api.kinds import Kind
from gastown.kube.aio import Client
from support.cluster import Cluster


@dataclass(frozen=True)
class Question:
    """What is looked for.

    Attributes:
        kind: Of the objects.
        is_true: Asked of each version that the watch shows, as JSON.
    """

    kind: Kind
    is_true: Callable[[dict[str, Any]], bool]


class FirstSeen:
    """Watches of one namespace, each in turn told to one question.

    Attributes:
        times: Per question, object name -> `time.monotonic()` when it was first true.
    """

    def __init__(self, cluster: Cluster, namespace: str, questions: Sequence[Question]) -> None:
        self.times: list[dict[str, float]] = [{} for _ in questions]
        self._cluster = cluster
        self._namespace = namespace
        self._questions = questions

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch for the length of a block."""
        stop, begun = threading.Event(), threading.Event()
        thread = threading.Thread(target=lambda: asyncio.run(self._watch_all(stop, begun)), name="first seen", daemon=True)
        thread.start()
        assert begun.wait(30)
        try:
            yield
        finally:
            stop.set()
            thread.join(30)

    async def _watch_all(self, stop: threading.Event, begun: threading.Event) -> None:
        async with Client(self._cluster.configuration(), user_agent="first-seen") as client:
            versions = [(await client.list_all(question.kind, self._namespace, raw=True)).resource_version for question in self._questions]
            tasks = [
                asyncio.create_task(self._watch(client, question, version, times))
                for question, version, times in zip(self._questions, versions, self.times, strict=True)
            ]
            begun.set()
            await asyncio.to_thread(stop.wait)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self, client: Client, question: Question, version: str, times: dict[str, float]) -> None:
        async for event in client.watch(question.kind, self._namespace, version, raw=True):
            value = event.object
            if event.type in ("ADDED", "MODIFIED") and value["metadata"]["name"] not in times and question.is_true(value):
                times[value["metadata"]["name"]] = time.monotonic()
