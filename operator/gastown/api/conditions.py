"""Conditions: their names, and how to read and replace one in a list."""

from __future__ import annotations

from collections.abc import Sequence

from .meta import Condition
from .text import plain_lines

# Accepted and observed as specified, on every kind.
READY = "Ready"
# Only what no retry can heal (kstatus).
STALLED = "Stalled"
# False when an object should move and does not; the reason says why.
PROGRESSING = "Progressing"

# Bead
STARTABLE = "Startable"
SUBMITTED = "Submitted"
LANDED = "Landed"

# MergeRequest; Landed is shared with Bead and Convoy
HEAD_PINNED = "HeadPinned"
VERIFIED = "Verified"
PUBLISHED = "Published"

# GateRun
SUCCEEDED = "Succeeded"

# Rig: set by the refinery, which alone sees the repository
REPOSITORY_READY = "RepositoryReady"

# Agent
SUSPECT = "Suspect"
ZOMBIE = "Zombie"

MESSAGE_LIMIT = 4096


def find_condition(conditions: Sequence[Condition], type_: str) -> Condition | None:
    """The condition of that type, or None."""
    return next((condition for condition in conditions if condition.type == type_), None)


def is_true(conditions: Sequence[Condition], type_: str) -> bool:
    """Whether the condition is present and True."""
    found = find_condition(conditions, type_)
    return found is not None and found.status == "True"


def is_false(conditions: Sequence[Condition], type_: str) -> bool:
    """Whether the condition is present and False."""
    found = find_condition(conditions, type_)
    return found is not None and found.status == "False"


def with_condition(conditions: Sequence[Condition], wanted: Condition, now_time: str) -> list[Condition]:
    """The list with one condition replaced or added.

    Args:
        wanted: The new observation; its lastTransitionTime is ignored.
        now_time: RFC 3339; becomes lastTransitionTime only when the status really changes, so that
            deciding twice writes once.
    """
    before = find_condition(conditions, wanted.type)
    since = before.lastTransitionTime if before is not None and before.status == wanted.status else now_time
    after = Condition(
        type=wanted.type,
        status=wanted.status,
        reason=wanted.reason,
        # What strangers wrote may be quoted in it, and people see it in columns and Events.
        message=plain_lines(wanted.message[:MESSAGE_LIMIT])[:MESSAGE_LIMIT],
        lastTransitionTime=since,
        observedGeneration=wanted.observedGeneration,
    )
    if before is None:
        return [*conditions, after]
    return [after if condition.type == wanted.type else condition for condition in conditions]


def without_condition(conditions: Sequence[Condition], type_: str) -> list[Condition]:
    """The list without the condition of that type."""
    return [condition for condition in conditions if condition.type != type_]
