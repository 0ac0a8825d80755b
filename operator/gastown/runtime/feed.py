"""The contract of a feed: it keeps one store equal to the API server's objects of one kind. Two engines: `informer`, `kopf_feed`."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol

from gastown.kube.decoding import Listing, Undecodable
from gastown.kube.errors import ApiError, TooManyRequests
from gastown.runtime.log import say
from gastown.runtime.store import Store

logger = logging.getLogger(__name__)

# A full LIST also of what the watch says is complete: heals whatever a bug, here or there, left behind.
RELIST_SECONDS = 600.0
FIRST_BACKOFF_SECONDS = 0.2
# Short, because it is how long a town stands still after its API server is back; a dozen feeds that ask this often are no load.
LONGEST_BACKOFF_SECONDS = 5.0
# A server that asks for more is taken at its word up to here.
LONGEST_WISH_SECONDS = 30.0


class Feed(Protocol):
    """Keeps a store up to date until cancelled."""

    @property
    def name(self) -> str:
        """For logs, metrics and health, such as beads/town."""

    @property
    def pulse(self) -> Pulse:
        """Signs of life."""

    async def run(self) -> None:
        """Feed until cancelled; errors of the API server are outlasted, not raised."""


class Pulse:
    """Signs of life of a feed.

    Attributes:
        last_active: Loop time at which it last did anything, failing included: an old one means that its task hangs or is dead.
        last_heard: Loop time at which the API server last told it something, a bookmark included: an old one means stale data.
        last_failed: Loop time at which it last was without a connection: silence of an object before that proves nothing.
        undecodable: Objects left out since the start.
    """

    def __init__(self) -> None:
        self.last_active = 0.0
        self.last_heard = 0.0
        self.last_failed = 0.0
        self.undecodable = 0
        self._synced = asyncio.Event()

    @property
    def is_synced(self) -> bool:
        """Whether the store has held everything at least once; nothing is decided before."""
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        """Return once synced."""
        await self._synced.wait()

    def active(self) -> None:
        """The feed did something."""
        self.last_active = asyncio.get_running_loop().time()

    def heard(self) -> None:
        """The API server told something."""
        self.last_active = self.last_heard = asyncio.get_running_loop().time()

    def failed(self) -> None:
        """The feed has no connection."""
        self.last_active = self.last_failed = asyncio.get_running_loop().time()

    def synced(self) -> None:
        """The store holds everything."""
        self._synced.set()


def retry_wait(error: ApiError, failures: int, roll: float) -> float:
    """Seconds to wait after the n-th failure in a row; longer if the server asked for it.

    Args:
        failures: 1 for the first.
        roll: A random number in [0, 1): feeds that failed together come back apart.
    """
    backoff = min(FIRST_BACKOFF_SECONDS * 2.0 ** min(failures - 1, 20), LONGEST_BACKOFF_SECONDS) * (1.0 - 0.5 * roll)
    if isinstance(error, TooManyRequests):
        return max(backoff, min(error.retry_after_seconds, LONGEST_WISH_SECONDS))
    return backoff


def take_listing(store: Store[Any], listing: Listing, namespace: str | None, pulse: Pulse, feed: str) -> None:
    """Make the store equal to a LIST and tell what could not be decoded."""
    changes = store.replace(listing.items, listing.resource_version, namespace)
    for problem in listing.undecodable:
        tell_undecodable(feed, problem, pulse)
    if pulse.is_synced and changes:
        # Differences that the watch should have told: after a gap this is normal, otherwise worth a look.
        gone = sum(change.type == "deleted" for change in changes)
        say(logger, logging.INFO, "relist_found_changes", feed=feed, changes=len(changes), gone=gone)
    pulse.heard()
    pulse.synced()


def tell_undecodable(feed: str, problem: Undecodable, pulse: Pulse) -> None:
    """Log an object that was left out; it counts as absent until it can be read."""
    pulse.undecodable += 1
    say(logger, logging.ERROR, "object_left_out", feed=feed, namespace=problem.namespace, name=problem.name, problem=problem.problem)
