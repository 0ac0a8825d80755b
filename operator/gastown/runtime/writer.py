"""The way of one write to the API server: a slot, the request, the count, the log line, the answer into the store."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from gastown.actions import Key, KubernetesObject
from gastown.api.kinds import Kind
from gastown.kube.errors import ApiError
from gastown.runtime.log import say
from gastown.runtime.metrics import Registry
from gastown.runtime.store import Store
from gastown.runtime.write_slots import Priority, WriteSlots

logger = logging.getLogger(__name__)


class Writer:
    """Used by the executor alone.

    Args:
        stores: Kind -> store that gets the answers, so that the next decision sees them before the watch shows them.
        metrics: Where writes are counted by kind, verb and result.
        writes_in_flight: At most.
    """

    def __init__(self, stores: Mapping[Kind, Store[Any]], metrics: Registry, writes_in_flight: int) -> None:
        self._stores = stores
        self._slots = WriteSlots(writes_in_flight)
        self._count = metrics.counter("writes_total", "Writes sent to the API server, by what it answered.", ("kind", "verb", "result"))
        self._seconds = metrics.histogram("write_seconds", "Time of a write, without the wait for a slot.", ("verb",))
        metrics.gauge("writes_waiting", "Writes that wait for a slot.", collect=lambda: {(): float(self._slots.waiting)})

    async def send(
        self, request: Callable[[], Awaitable[Any]], *, priority: Priority, kind: Kind, verb: str, key: Key, reason: str, version: str = ""
    ) -> Any:
        """Send one write when its turn has come.

        Args:
            request: Sends it.
            verb: For metrics and log, such as patch_status.
            reason: Why, for the log.
            version: The resourceVersion it was decided on, if any.

        Returns:
            The answer.

        Raises:
            ApiError: The server refused, or was not reached.
        """
        async with self._slots.slot(priority):
            started = time.perf_counter()
            try:
                answer = await request()
            except ApiError as error:
                self._count.add(kind.name, verb, error.reason or type(error).__name__)
                raise
            finally:
                self._seconds.observe(time.perf_counter() - started, verb)
        if version and answer is not None and answer.metadata.resourceVersion == version:
            # The server took it for no change: the decider and the server disagree about a default, and would do so for ever.
            self._count.add(kind.name, verb, "no_change")
            say(logger, logging.WARNING, "write_changed_nothing", kind=kind.name, namespace=key[0], name=key[1], verb=verb, reason=reason)
        else:
            self._count.add(kind.name, verb, "ok")
            say(logger, logging.INFO, verb, kind=kind.name, namespace=key[0], name=key[1], reason=reason)
        self.learn(kind, answer)
        return answer

    def learn(self, kind: Kind, value: KubernetesObject | None) -> None:
        """Put an answer into the store of its kind, if there is one."""
        store = self._stores.get(kind)
        if store is not None and value is not None:
            store.put(value)

    def forget(self, kind: Kind, key: Key, uid: str) -> None:
        """Drop an object that the server says does not exist: nobody told us of its deletion, and nothing would start in its place."""
        store = self._stores.get(kind)
        known = store.find(*key) if store is not None else None
        if store is not None and known is not None and known.metadata.uid == uid:
            store.remove(*key, str(store.version_of(*key)))

    def is_overtaken(self, kind: Kind, seen: KubernetesObject) -> bool:
        """Whether a newer version is known already: the write would only be refused, at the API server's cost."""
        store = self._stores.get(kind)
        metadata = seen.metadata
        return store is not None and store.version_of(metadata.namespace, metadata.name) > int(metadata.resourceVersion or 0)
