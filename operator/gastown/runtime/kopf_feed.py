"""The feed for quiet kinds: thin kopf handlers into the store.

kopf tells what changed, but neither when it has told everything nor what vanished while its watch was cut off (after a 410 it lists
again and compares nothing). So this feed lists by itself and the store drops the ghosts: at start, every 10 minutes, and whenever a
watch of kopf's begins, since only a LIST after the begin of the watch leaves no gap. While kopf does not watch, for whatever reason, this
feed lists often enough to go on without it.

Nothing of kopf's own is written: no handler here but `on.event`, and both storages are stubs. kopf runs in a thread of its own
(`kopf_engine`); everything it tells is handed over to the loop that owns the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Sequence
from typing import Any

import kopf
import msgspec

from gastown.api.kinds import Kind
from gastown.kube.aio import Client
from gastown.kube.decoding import Undecodable
from gastown.kube.errors import ApiError
from gastown.runtime.feed import RELIST_SECONDS, Pulse, retry_wait, take_listing, tell_undecodable
from gastown.runtime.log import say
from gastown.runtime.store import Store

logger = logging.getLogger(__name__)

# Between LISTs while kopf does not watch.
POLL_SECONDS = 30.0
# Watches that begin together (one per namespace, or a link that flaps) share a LIST.
TOGETHER_SECONDS = 0.5


class KopfFeed:
    """Keeps a store equal to the API server's objects of one kind.

    Create it before kopf starts, which takes its handler from the registry; `run` does the listing.

    Args:
        client: Lists.
        kind: Of the objects.
        store: Fed by this feed alone.
        registry: The one that kopf is started with (`KopfEngine`).
        namespaces: Those that kopf watches.
        relist_seconds: A full LIST this often.
        poll_seconds: The same while kopf does not watch.
        roll: Random numbers in [0, 1), so that feeds do not list in step.

    Attributes:
        kind: Of the objects.
    """

    def __init__(
        self,
        client: Client,
        kind: Kind,
        store: Store[Any],
        *,
        registry: kopf.OperatorRegistry,
        namespaces: Sequence[str],
        relist_seconds: float = RELIST_SECONDS,
        poll_seconds: float = POLL_SECONDS,
        roll: Callable[[], float] = random.random,
    ) -> None:
        self.name = f"{kind.plural}/{','.join(namespaces)}"
        self.pulse = Pulse()
        self.kind = kind
        self._client = client
        self._store = store
        self._namespaces = tuple(namespaces)
        self._relist_seconds = relist_seconds
        self._poll_seconds = poll_seconds
        self._roll = roll
        self._home: asyncio.AbstractEventLoop | None = None
        self._list_is_due = asyncio.Event()
        # Namespaces that kopf watches now.
        self._watched: set[str] = set()
        kopf.on.event(kind.group, kind.version, kind.plural, id=f"feed-{kind.plural}", registry=registry)(self._on_event)

    async def run(self) -> None:
        """List until cancelled; errors of the API server are outlasted, not raised."""
        self._home = asyncio.get_running_loop()
        failures = 0
        while True:
            self.pulse.active()
            self._list_is_due.clear()
            try:
                # All first, so that "synced" means every namespace.
                listings = [(name, await self._client.list_all(self.kind, name)) for name in self._namespaces]
            except ApiError as error:
                failures += 1
                wait = retry_wait(error, failures, self._roll())
                say(logger, logging.WARNING, "feed_interrupted", feed=self.name, error=error, retry_seconds=round(wait, 2))
                await asyncio.sleep(wait)
                continue
            failures = 0
            for namespace, listing in listings:
                take_listing(self._store, listing, namespace, self.pulse, self.name)
            await self._until_list_is_due()

    def watch_is(self, namespace: str, *, is_open: bool) -> None:
        """Whether kopf's watch of a namespace stands. From kopf's thread."""
        self._hand_over(lambda: self._watch_is(namespace, is_open=is_open))

    def watches_ended(self) -> None:
        """kopf ended. From the feed's own loop."""
        self._watched.clear()

    async def _until_list_is_due(self) -> None:
        loop = asyncio.get_running_loop()
        listed = loop.time()
        spread = 1.0 - 0.1 * self._roll()
        while not self._list_is_due.is_set():
            self.pulse.active()  # in slices, because health takes a feed that does nothing for minutes for dead
            is_watched = self._watched.issuperset(self._namespaces)
            due = listed + spread * (self._relist_seconds if is_watched else min(self._poll_seconds, self._relist_seconds))
            if (left := due - loop.time()) <= 0:
                return
            with contextlib.suppress(TimeoutError):
                # Not wait_for: before Python 3.12 it swallows a cancellation that comes together with the result.
                async with asyncio.timeout(min(left, POLL_SECONDS)):
                    await self._list_is_due.wait()
        await asyncio.sleep(TOGETHER_SECONDS)

    def _watch_is(self, namespace: str, *, is_open: bool) -> None:
        if not is_open:
            self._watched.discard(namespace)
            return
        self.pulse.heard()
        self._watched.add(namespace)
        self._list_is_due.set()

    async def _on_event(self, event: Any, **_: Any) -> None:
        type_, body = event["type"], dict(event["object"])
        self._hand_over(lambda: self._take(type_, body))

    def _take(self, type_: str | None, body: dict[str, Any]) -> None:
        self.pulse.heard()
        metadata = body.get("metadata", {})
        namespace, name, version = metadata.get("namespace", ""), metadata.get("name", ""), metadata.get("resourceVersion", "0")
        if type_ == "DELETED":
            self._store.remove(namespace, name, version)
            return
        try:
            self._store.put(msgspec.convert(body, self.kind.type))
        except msgspec.ValidationError as error:
            tell_undecodable(self.name, Undecodable(namespace, name, str(error)), self.pulse)
            self._store.remove(namespace, name, version)

    def _hand_over(self, action: Callable[[], object]) -> None:
        if self._home is not None:
            with contextlib.suppress(RuntimeError):  # that loop is closed: the process ends
                self._home.call_soon_threadsafe(action)


class _NoProgress(kopf.ProgressStorage):
    """Keeps nothing, since there are no handlers with progress."""

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        pass

    def purge(self, **_: Any) -> None:
        pass

    def touch(self, **_: Any) -> None:
        pass

    def clear(self, *, essence: Any) -> Any:
        return essence


class _NoDiffBase(kopf.DiffBaseStorage):
    """Builds and keeps nothing: the diff base is 41 % of the CPU of an event that nobody compares."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        pass


def quieten(settings: kopf.OperatorSettings) -> None:
    """Make kopf a pure feed: it stores nothing, posts nothing, and lets idle workers go soon (16 KB each).

    Nor does it watch for new CRDs and namespaces, which takes rights in the whole cluster: ours are known, and have to be there when
    kopf starts (as they are when the feeds are synced).
    """
    settings.scanning.disabled = True
    settings.persistence.progress_storage = _NoProgress()
    settings.persistence.diffbase_storage = _NoDiffBase()
    settings.posting.enabled = False
    settings.process.ultimate_exiting_timeout = None
    settings.queueing.idle_timeout = 1.0
    settings.watching.chunk_size = 500
