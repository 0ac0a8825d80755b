"""The contract of a feed: it keeps one store equal to the API server's objects of one kind. Two engines: `informer`, `kopf_feed`."""

from __future__ import annotations

from typing import Protocol


class Feed(Protocol):
    """Keeps a store up to date until cancelled.

    Attributes:
        name: For logs, metrics and health, such as beads/town.
    """

    name: str

    @property
    def is_synced(self) -> bool:
        """Whether the store has held everything at least once; nothing is decided before."""

    async def wait_synced(self) -> None:
        """Return once `is_synced`."""

    @property
    def last_active(self) -> float:
        """When the feed last did anything, failures included (loop time): an old one means its task is stuck or dead."""

    @property
    def last_heard(self) -> float:
        """When the API server last told it something, a bookmark included (loop time): an old one means stale data."""

    async def run(self) -> None:
        """Feed until cancelled; errors of the API server are outlasted, not raised."""
