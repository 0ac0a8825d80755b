"""Bead IDs: short, without a counter that all towns would have to share."""

from __future__ import annotations

from gastown.api.names import base36_digest

SHORTEST = 4
LONGEST = 10
NONCES_PER_LENGTH = 10


def hash_id(prefix: str, title: str, description: str, creator: str, nanoseconds: int, nonce: int, length: int) -> str:
    """The ID of a new bead.

    Args:
        nanoseconds: Of its creation.
        nonce: Counts the tries.
        length: Digits after the prefix, see `length_for`.
    """
    return f"{prefix}-{base36_digest(f'{title}|{description}|{creator}|{nanoseconds}|{nonce}', length)}"


def length_for(beads: int) -> int:
    """The fewest digits with which the odds of any two of so many beads meeting stay below one in four (birthday bound)."""
    length = SHORTEST
    while length < LONGEST and beads * beads > 0.5 * 36**length:
        length += 1
    return length


def child_id(parent: str, siblings: list[str]) -> str:
    """The next free ID below a parent: parent.1, parent.2, ...

    Args:
        siblings: IDs of its children so far; others are overlooked.
    """
    numbers = [int(tail) for name in siblings if (tail := name.removeprefix(f"{parent}.")) != name and tail.isdecimal()]
    return f"{parent}.{max(numbers, default=0) + 1}"
