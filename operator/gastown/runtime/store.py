"""What the API server holds of one kind, as we know it: typed objects with indices. Feeds write it, deciders' wiring reads it.

Versions only go forward. Three sources tell about one object in any order: the watch, a LIST, and the answers to our own writes; the
resourceVersion decides which is newer (versions of one resource are numbers and comparable). What was deleted stays deleted: a late
event or answer about it is older than its tombstone, or than the last LIST that did not hold it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from gastown.actions import Key, KubernetesObject
from gastown.api.kinds import Kind

T = TypeVar("T", bound=KubernetesObject)

# Values under which an object is found; several or none are fine.
IndexFunction = Callable[[T], Iterable[str]]


@dataclass(frozen=True, slots=True)
class Change(Generic[T]):
    """What happened to one object of a store.

    Attributes:
        type: added, modified or deleted.
        key: (namespace, name).
        before: None when added.
        after: None when deleted.
    """

    type: Literal["added", "modified", "deleted"]
    key: Key
    before: T | None
    after: T | None


class Store(Generic[T]):
    """Objects of one kind by (namespace, name), each the newest version heard of.

    Args:
        kind: Of the objects.
        indices: Index name -> function from an object to the values it is found under.
    """

    def __init__(self, kind: Kind, indices: Mapping[str, IndexFunction[T]] | None = None) -> None:
        raise NotImplementedError

    def subscribe(self, listener: Callable[[Change[T]], None]) -> None:
        """Call the listener after every change, in the order of changes; it only enqueues keys, so it must not fail or wait."""
        raise NotImplementedError

    def find(self, namespace: str, name: str) -> T | None:
        """The object, or None. What is assumed of it shines through."""
        raise NotImplementedError

    def by(self, index: str, value: str) -> list[T]:
        """The objects an index holds under that value, ordered by key."""
        raise NotImplementedError

    def all(self, namespace: str | None = None) -> Iterator[T]:
        """Every object, or those of one namespace."""
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError

    def put(self, value: T) -> Change[T] | None:
        """Take a version of an object from the watch or from the answer to a write; None when it is not news."""
        raise NotImplementedError

    def remove(self, value: T) -> Change[T] | None:
        """Take a deletion, with the resourceVersion the object died at; None when it is not news."""
        raise NotImplementedError

    def replace(self, values: Iterable[T], resource_version: str, namespace: str | None = None) -> list[Change[T]]:
        """Take a complete LIST.

        Args:
            values: All objects that existed at `resource_version`.
            namespace: What was listed; None means all.

        Returns:
            What was added, changed and removed (ghosts whose deletion nobody told us). Objects newer than the list stay.
        """
        raise NotImplementedError

    def assume(self, value: T, until: float) -> None:
        """Let a write that is under way count as done, until a newer version is heard of, `retract`, or `expire` after `until`."""
        raise NotImplementedError

    def retract(self, key: Key) -> None:
        """The assumed write certainly did not happen."""
        raise NotImplementedError

    def expire(self, now: float) -> None:
        """Drop assumptions that nothing confirmed in time; `now` is of the clock `until` was taken from."""
        raise NotImplementedError
