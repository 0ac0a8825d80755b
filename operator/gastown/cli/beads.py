"""What several commands do with beads: read, sort, name, and show them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gastown.api.bead import PHASE_READY, Bead
from gastown.api.codec import from_dict
from gastown.api.conditions import STARTABLE, find_condition, is_true
from gastown.api.kinds import BEAD
from gastown.cli.errors import USAGE, CommandError, about
from gastown.cli.output import age
from gastown.kube.rest import Client

Json = dict[str, Any]
NOT_FOUND_REMEDY = "look for it with `bd list --all`"
_ID_HEADINGS = ("ID", "P", "PHASE", "WHY", "ASSIGNEE", "AGE", "TITLE")


def get_bead(client: Client, namespace: str, bead_id: str) -> Json:
    """One bead by its ID, in any case.

    Raises:
        CommandError: There is none, or no answer.
    """
    name = bead_id.lower()
    if not name:
        raise CommandError("bead", "an ID is empty", remedy=NOT_FOUND_REMEDY, exit_code=USAGE, reason="BadId")
    with about(f"bead {name} in namespace {namespace}", remedy=NOT_FOUND_REMEDY):
        return client.get(BEAD, namespace, name)


def list_beads(client: Client, namespace: str, *, field_selector: str = "", label_selector: str = "") -> list[Json]:
    """Beads of a namespace, most urgent first."""
    with about(f"beads in namespace {namespace}"):
        found = client.list_all(BEAD, namespace, field_selector=field_selector, label_selector=label_selector)
    return sorted(found, key=urgency)


def urgency(item: Json) -> tuple[int, str, str]:
    """Sort key: priority, then age, then ID."""
    spec, metadata = item.get("spec", {}), item["metadata"]
    return (int(spec.get("priority", 2)), str(spec.get("createdTime") or metadata.get("creationTimestamp", "")), str(metadata["name"]))


def is_startable(item: Json) -> bool:
    """Whether the operator says that it may start now and nobody has it."""
    bead = from_dict(Bead, item)
    return bead.status.phase == PHASE_READY and not bead.spec.assignee and is_true(bead.status.conditions, STARTABLE)


def why(bead: Bead) -> str:
    """In one word, why a bead does not move; "" when it does, or is done."""
    condition = find_condition(bead.status.conditions, STARTABLE)
    if condition is None or condition.status == "True":
        return ""
    blockers = ",".join(bead.status.blockedBy[:3]) + (",..." if len(bead.status.blockedBy) > 3 else "")
    return f"{condition.reason}({blockers})" if blockers else condition.reason


def bead_table(items: Sequence[Json]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Headings and rows for a list of beads."""
    rows: list[tuple[str, ...]] = []
    for item in items:
        bead = from_dict(Bead, item)
        spec, phase = bead.spec, bead.status.phase
        moving = phase in ("Blocked", "Ready", "Hooked", "")
        rows.append(
            (
                bead.metadata.name,
                str(spec.priority),
                phase or "-",
                (why(bead) if moving else "") or "-",
                spec.assignee or "-",
                age(bead.metadata.creationTimestamp),
                spec.title,
            )
        )
    return _ID_HEADINGS, rows
