"""The feed for quiet kinds: thin kopf handlers into the store.

kopf tells what changed, but neither when it has told everything nor what vanished while its watch was cut off (after a 410 it lists
again and compares nothing). So this feed lists by itself and the store drops the ghosts: at start, every 10 minutes, and whenever kopf
has listed, since only a LIST newer than kopf's own leaves no gap before its watch.

Nothing of kopf's own is written: no handler here but `on.event`, and both storages are stubs.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import random
from collections.abc import Callable, Sequence
from typing import Any

import kopf
import msgspec

from gastown.api.kinds import Kind
from gastown.kube.aio import Client
from gastown.kube.configuration import Configuration
from gastown.kube.decoding import Undecodable
from gastown.kube.errors import ApiError
from gastown.runtime.feed import RELIST_SECONDS, Pulse, take_listing, tell_undecodable
from gastown.runtime.log import say
from gastown.runtime.store import Store

logger = logging.getLogger(__name__)

RETRY_SECONDS = 5.0
# kopf has listed everything when it told of nothing listed for so long.
QUIET_SECONDS = 1.0
# A kind of which kopf's LIST holds nothing makes no sound; by then its watch has begun.
SECOND_LIST_SECONDS = 30.0


class KopfFeed:
    """Keeps a store equal to the API server's objects of one kind.

    Create it before `kopf.operator()` starts, which takes its handler from the registry; `run` does the listing.

    Args:
        client: Lists.
        kind: Of the objects.
        store: Fed by this feed alone.
        registry: Handed to `kopf.operator(registry=...)`.
        namespaces: The same that `kopf.operator(namespaces=...)` is given.
        relist_seconds: A full LIST this often.
        roll: Random numbers in [0, 1), so that feeds do not list in step.
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
        roll: Callable[[], float] = random.random,
    ) -> None:
        self.name = f"{kind.plural}/{','.join(namespaces)}"
        self.pulse = Pulse()
        self._client = client
        self._kind = kind
        self._store = store
        self._namespaces = tuple(namespaces)
        self._relist_seconds = relist_seconds
        self._roll = roll
        self._kopf_listed = asyncio.Event()
        kopf.on.event(kind.group, kind.version, kind.plural, id=f"feed-{kind.plural}", registry=registry)(self._on_event)

    async def run(self) -> None:
        """List until cancelled; errors of the API server are outlasted, not raised."""
        wait = SECOND_LIST_SECONDS
        while True:
            self.pulse.active()
            try:
                # All first, so that "synced" means every namespace.
                listings = [(name, await self._client.list_all(self._kind, name)) for name in self._namespaces]
            except ApiError as error:
                say(logger, logging.WARNING, "feed_interrupted", feed=self.name, error=error, retry_seconds=RETRY_SECONDS)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            for namespace, listing in listings:
                take_listing(self._store, listing, namespace, self.pulse, self.name)
            await self._until_list_is_due(min(wait, self._relist_seconds) * (1.0 - 0.1 * self._roll()))
            wait = self._relist_seconds

    async def _until_list_is_due(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while (left := until - loop.time()) > 0 and not self._kopf_listed.is_set():
            self.pulse.active()  # in slices, because health takes a feed that does nothing for minutes for dead
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._kopf_listed.wait(), min(left, 30.0))
        while self._kopf_listed.is_set():
            self._kopf_listed.clear()
            await asyncio.sleep(QUIET_SECONDS)

    async def _on_event(self, event: Any, **_: Any) -> None:
        self.pulse.heard()
        if event["type"] is None:  # from a LIST of kopf's: at its start, or after a gap
            self._kopf_listed.set()
        body = dict(event["object"])
        metadata = body.get("metadata", {})
        namespace, name, version = metadata.get("namespace", ""), metadata.get("name", ""), metadata.get("resourceVersion", "0")
        if event["type"] == "DELETED":
            self._store.remove(namespace, name, version)
            return
        try:
            self._store.put(msgspec.convert(body, self._kind.type))
        except msgspec.ValidationError as error:
            tell_undecodable(self.name, Undecodable(namespace, name, str(error)), self.pulse)
            self._store.remove(namespace, name, version)


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
    `kopf.operator` starts (as they are when the feeds are synced).
    """
    settings.scanning.disabled = True
    settings.persistence.progress_storage = _NoProgress()
    settings.persistence.diffbase_storage = _NoDiffBase()
    settings.posting.enabled = False
    settings.queueing.idle_timeout = 1.0
    settings.watching.chunk_size = 500


def connection_info(configuration: Configuration, now: dt.datetime) -> kopf.ConnectionInfo:
    """For an `on.login` handler: kopf speaks to the same server as the same identity as we do.

    Args:
        now: Aware; a token from a file is taken for good for five minutes from then, so that kopf follows its rotation.
    """
    return kopf.ConnectionInfo(
        server=configuration.server,
        ca_path=configuration.authority_file or None,
        ca_data=configuration.authority_data.encode() or None,
        token=configuration.bearer_token() or None,
        certificate_path=configuration.certificate_file or None,
        certificate_data=configuration.certificate_data.encode() or None,
        private_key_path=configuration.key_file or None,
        private_key_data=configuration.key_data.encode() or None,
        expiration=now + dt.timedelta(minutes=5) if configuration.token_file is not None else None,
    )
