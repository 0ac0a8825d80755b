"""Small questions about a change of a store that the wiring of several deciders asks."""

from __future__ import annotations

from typing import Any

from gastown.actions import Key, KubernetesObject
from gastown.runtime.store import Change


def is_new_spec(change: Change[Any]) -> bool:
    """Whether people changed what they want, or the object came or went; a mere status does not count."""
    if change.before is None or change.after is None:
        return True
    return bool(change.before.metadata.generation != change.after.metadata.generation)


def is_new_verdict(change: Change[Any]) -> bool:
    """Whether the spec or any condition changed."""
    if change.before is None or change.after is None:
        return True
    return is_new_spec(change) or bool(change.before.status.conditions != change.after.status.conditions)


def versions(change: Change[Any]) -> list[Any]:
    """Before and after, as far as they exist."""
    return [value for value in (change.before, change.after) if value is not None]


def key_of(value: KubernetesObject) -> Key:
    """The key of an object."""
    return value.metadata.namespace, value.metadata.name
