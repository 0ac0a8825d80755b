"""Names that follow from other names, so that a crash between two steps repeats instead of duplicating."""

from __future__ import annotations

import hashlib

_BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"
LABEL_LIMIT = 63

# The token of a hand-made agent name that ends in the pool name: <rig>-<pool name>.
_SEPARATOR = "-"


def base36_digest(text: str, length: int) -> str:
    """The first `length` base36 digits of a SHA-256 of the text."""
    number = int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest(), "big")
    digits = []
    for _ in range(length):
        number, rest = divmod(number, 36)
        digits.append(_BASE36[rest])
    return "".join(digits)


def convoy_bead_name(prefix: str, convoy_uid: str, local_name: str) -> str:
    """The bead ID of a convoy's inline template: the same for each re-apply of the same convoy object.

    Eight base36 digits (41 bits) keep the odds of two of a town's 100,000 kept beads meeting below 1 in 500.
    """
    return f"{prefix}-{base36_digest(f'{convoy_uid}/{local_name}', 8)}"


def prefix_of(bead_id: str) -> str:
    """What stands before the first dash of a bead ID; "" if there is none."""
    return bead_id.split("-", 1)[0] if "-" in bead_id else ""


def parent_of(bead_id: str) -> str:
    """The ID of which this is a child by name (gp-a3f8.1 -> gp-a3f8); "" for a top-level ID."""
    head, dot, tail = bead_id.rpartition(".")
    return head if dot and tail.isdigit() else ""


def agent_name(rig_name: str, pool_name: str) -> str:
    """The name of a rig's polecat: also of its ServiceAccount, Lease and session pod."""
    return f"{rig_name}{_SEPARATOR}{pool_name}"


def display_actor(role: str, rig_name: str, name: str) -> str:
    """How people read an agent: <rig>/polecats/<name>, <rig>/crew/<name>, or the role alone."""
    short = name.removeprefix(f"{rig_name}{_SEPARATOR}") if rig_name else name
    if role == "polecat":
        return f"{rig_name}/polecats/{short}"
    if role == "crew":
        return f"{rig_name}/crew/{short}" if rig_name else f"crew/{short}"
    return f"{rig_name}/{role}" if rig_name else role


def session_branch(agent: str, bead_id: str) -> str:
    """The branch a session pushes, without refs/heads/."""
    return f"polecat/{agent}/{bead_id}"


def checkpoint_ref(agent: str, bead_id: str) -> str:
    """Where uncommitted work of a session is kept."""
    return f"refs/agents/{agent}/wip/{bead_id}"


def merge_request_name(bead_id: str, head: str) -> str:
    """One MergeRequest per submitted head, however often the submission is repeated."""
    return f"{bead_id}-{head[:12]}"


def gate_run_name(rig_name: str, tree: str, gate_digest: str, attempt: int) -> str:
    """One GateRun per tree, gate list and attempt."""
    return shorten(f"{rig_name}-{tree[:12]}-{gate_digest[:8]}-{attempt}")


def gate_job_name(gate_run: str, gate: str) -> str:
    """The Job of one gate of a GateRun."""
    return shorten(f"{gate_run}-{gate}")


def shorten(name: str, limit: int = LABEL_LIMIT) -> str:
    """The name itself, or, when it is too long for a label, its beginning and a digest of all of it."""
    if len(name) <= limit:
        return name
    digest = base36_digest(name, 8)
    return f"{name[: limit - 9].rstrip('-.')}-{digest}"
