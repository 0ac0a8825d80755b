"""What the API server holds of one kind, as we know it: typed objects with indices. Feeds write it, deciders' wiring reads it.

Versions only go forward. Three sources tell about one object in any order: the watch, a LIST, and the answers to our own writes; the
resourceVersion decides which is newer (versions of one resource are numbers and comparable). What was deleted stays deleted: a late
event or answer about it is older than its tombstone, or than the last LIST that did not hold it.

One store has one feed per namespace, always with the same selectors: only then an object missing from a LIST is a deleted one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, Literal, TypeAlias, TypeVar

from gastown.actions import Key, KubernetesObject
from gastown.api.kinds import Kind
from gastown.runtime.log import say

logger = logging.getLogger(__name__)

T = TypeVar("T", bound=KubernetesObject)

# Values under which an object is found; several or none are fine.
IndexFunction: TypeAlias = Callable[[T], Iterable[str]]


@dataclass(frozen=True, slots=True)
class Change(Generic[T]):
    """What happened to one object of a store, assumptions included.

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


@dataclass(frozen=True, slots=True)
class _Assumption(Generic[T]):
    value: T
    until: float


class Store(Generic[T]):
    """Objects of one kind by (namespace, name), each the newest version heard of.

    Args:
        kind: Of the objects.
        indices: Index name -> function from an object to the values it is found under.
    """

    def __init__(self, kind: Kind, indices: Mapping[str, IndexFunction[T]] | None = None) -> None:
        self.kind = kind
        self._objects: dict[Key, T] = {}
        self._assumed: dict[Key, _Assumption[T]] = {}
        # Version at which a deleted object died; kept until a LIST is newer.
        self._dead: dict[Key, int] = {}
        # Namespace (None: all) -> version of its last LIST: an unknown object that is not newer was deleted before it.
        self._floors: dict[str | None, int] = {}
        self._functions = dict(indices or {})
        self._indices: dict[str, dict[str, set[Key]]] = {name: {} for name in self._functions}
        self._listeners: list[Callable[[Change[T]], None]] = []

    def subscribe(self, listener: Callable[[Change[T]], None]) -> None:
        """Call the listener after every change, in the order of changes; it only enqueues keys and must not wait."""
        self._listeners.append(listener)

    def find(self, namespace: str, name: str) -> T | None:
        """The object, or None. What is assumed of it shines through."""
        return self._visible((namespace, name))

    def by(self, index: str, value: str) -> list[T]:
        """The objects an index holds under that value, ordered by key."""
        found = (self._visible(key) for key in sorted(self._indices[index].get(value, ())))
        return [item for item in found if item is not None]

    def all(self, namespace: str | None = None) -> list[T]:
        """Every object, or those of one namespace, in no order."""
        keys = [*self._objects, *(key for key in self._assumed if key not in self._objects)]
        found = (self._visible(key) for key in keys if namespace is None or key[0] == namespace)
        return [item for item in found if item is not None]

    def __len__(self) -> int:
        return len(self._objects) + sum(key not in self._objects for key in self._assumed)

    def version_of(self, namespace: str, name: str) -> int:
        """Newest resourceVersion heard of, dead or alive and assumptions aside; 0 for an object never heard of."""
        current = self._objects.get((namespace, name))
        return _version(current) if current is not None else self._dead.get((namespace, name), 0)

    def put(self, value: T) -> Change[T] | None:
        """Take a version of an object from the watch or from the answer to a write; None when it is not news."""
        key, version = _key(value), _version(value)
        current = self._objects.get(key)
        known = _version(current) if current is not None else max(self._dead.get(key, 0), self._floor(key))
        return self._take(key, value) if version > known else None

    def remove(self, namespace: str, name: str, resource_version: str) -> Change[T] | None:
        """Take a deletion, with the resourceVersion the object died at; None when it is not news."""
        key, version = (namespace, name), int(resource_version)
        current = self._objects.get(key)
        if current is None:
            self._dead[key] = max(self._dead.get(key, 0), version)
            return None
        return self._drop(key, version) if version >= _version(current) else None

    def replace(self, values: Iterable[T], resource_version: str, namespace: str | None = None) -> list[Change[T]]:
        """Take a complete LIST.

        Args:
            values: All objects that existed at `resource_version`.
            namespace: What was listed; None means all.

        Returns:
            What was added, changed and removed (ghosts whose deletion nobody told us). Objects newer than the list stay, unless the
            list is older than the one before: then the server was restored from a backup and its word counts for everything.
        """
        version = int(resource_version)
        rewound = version < self._floors.get(namespace, 0)
        if rewound:
            self._forget_versions(namespace)
        changes: list[Change[T] | None] = []
        listed = set()
        for value in values:
            key = _key(value)
            listed.add(key)
            current = self._objects.get(key)
            known = _version(current) if current is not None else self._dead.get(key, 0)
            if rewound or _version(value) > known:
                changes.append(self._take(key, value))
        missing = [key for key in self._objects if key not in listed and (namespace is None or key[0] == namespace)]
        ghosts = [key for key in missing if rewound or _version(self._objects[key]) <= version]
        changes += [self._drop(key, version) for key in ghosts]
        self._floors[namespace] = version
        self._dead = {key: died for key, died in self._dead.items() if died > self._floor(key)}
        return [change for change in changes if change is not None]

    def is_assumed(self, namespace: str, name: str) -> bool:
        """Whether what `find` gives is not certain yet: good enough to count as taken, not to build upon."""
        return (namespace, name) in self._assumed

    def assume(self, value: T, until: float) -> Change[T] | None:
        """Let a write that is under way count as done, until a newer version is heard of, `retract`, or `expire` after `until`."""
        key = _key(value)
        before = self._visible(key)
        self._assumed[key] = _Assumption(value, until)
        return self._show(key, before)

    def retract(self, namespace: str, name: str) -> Change[T] | None:
        """The assumed write did not happen, or its outcome is in the store by now."""
        key = (namespace, name)
        before = self._visible(key)
        self._assumed.pop(key, None)
        return self._show(key, before)

    def expire(self, now: float) -> list[Change[T]]:
        """Drop assumptions that nothing confirmed in time; `now` is of the clock `until` was taken from."""
        late = [key for key, assumption in self._assumed.items() if assumption.until <= now]
        return [change for key in late if (change := self.retract(*key)) is not None]

    def _take(self, key: Key, value: T) -> Change[T] | None:
        before = self._visible(key)
        self._objects[key] = value
        self._assumed.pop(key, None)
        self._dead.pop(key, None)
        return self._show(key, before)

    def _drop(self, key: Key, version: int) -> Change[T] | None:
        before = self._visible(key)
        self._objects.pop(key, None)
        self._assumed.pop(key, None)
        self._dead[key] = version
        return self._show(key, before)

    def _show(self, key: Key, before: T | None) -> Change[T] | None:
        after = self._visible(key)
        if before is after:
            return None
        for name, function in self._functions.items():
            self._reindex(self._indices[name], key, self._values(function, before), self._values(function, after))
        type_: Literal["added", "modified", "deleted"] = "added" if before is None else "deleted" if after is None else "modified"
        change = Change(type_, key, before, after)
        for listener in self._listeners:
            try:
                listener(change)
            except Exception as error:  # noqa: BLE001 - one odd object must not end the feed of all others
                say(logger, logging.ERROR, "listener_failed", exc_info=error, kind=self.kind.name, namespace=key[0], name=key[1])
        return change

    def _reindex(self, index: dict[str, set[Key]], key: Key, old: frozenset[str], new: frozenset[str]) -> None:
        for value in old - new:
            index[value].discard(key)
            if not index[value]:
                del index[value]
        for value in new - old:
            index.setdefault(value, set()).add(key)

    def _values(self, function: IndexFunction[T], value: T | None) -> frozenset[str]:
        if value is None:
            return frozenset()
        try:
            return frozenset(function(value))
        except Exception as error:  # noqa: BLE001 - as above; it is found by its name still
            say(logger, logging.ERROR, "index_failed", exc_info=error, kind=self.kind.name, name=value.metadata.name)
            return frozenset()

    def _visible(self, key: Key) -> T | None:
        assumption = self._assumed.get(key)
        return assumption.value if assumption is not None else self._objects.get(key)

    def _floor(self, key: Key) -> int:
        return max(self._floors.get(key[0], 0), self._floors.get(None, 0))

    def _forget_versions(self, namespace: str | None) -> None:
        for key in [key for key in self._dead if namespace is None or key[0] == namespace]:
            del self._dead[key]
        self._floors.pop(namespace, None)


def _key(value: KubernetesObject) -> Key:
    return (value.metadata.namespace, value.metadata.name)


def _version(value: KubernetesObject) -> int:
    return int(value.metadata.resourceVersion or 0)
