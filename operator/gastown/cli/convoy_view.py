"""A convoy bead by bead: waves, phases, agents and reasons, as rows of a table. Pure; for `gt convoy status` with and without --watch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gastown.api import labels
from gastown.api.bead import BLOCKING_TYPES, PHASE_BLOCKED, PHASE_LANDED, PHASE_READY, PHASE_SUBMITTED, Bead
from gastown.api.conditions import PROGRESSING, READY, find_condition
from gastown.api.convoy import Convoy
from gastown.api.merge_request import MergeRequest
from gastown.api.names import shorten
from gastown.api.text import plain
from gastown.cli.beads import why
from gastown.decide.graph import layers

HEADINGS = ("WAVE", "BEAD", "NAME", "PHASE", "AGENT", "WHY", "TITLE")
MISSING = "Missing"


@dataclass(frozen=True, slots=True)
class Seen:
    """What was read of a convoy.

    Attributes:
        beads, requests: By name; may hold others, too.
    """

    convoy: Convoy
    beads: Mapping[str, Bead]
    requests: Mapping[str, MergeRequest]

    def members(self) -> list[str]:
        """Names of the members, those it created and those it names; sorted."""
        mine = shorten(self.convoy.metadata.name)
        created = (name for name, bead in self.beads.items() if bead.metadata.labels.get(labels.CONVOY) == mine)
        return sorted({*created, *self.convoy.spec.beads})


def heading(convoy: Convoy) -> str:
    """The convoy itself in one to three lines, ending in a line end."""
    status = convoy.status
    title = f"  {plain(convoy.spec.title)}" if convoy.spec.title else ""
    lines = [plain(f"convoy {convoy.metadata.name}: {status.phase or 'not seen yet'} {status.progress}").rstrip() + title]
    for type_ in (READY, PROGRESSING) if status.phase != PHASE_LANDED else ():
        condition = find_condition(status.conditions, type_)
        if condition is not None and condition.status == "False":
            lines.append(f"  {plain(condition.reason)}: {plain(condition.message)}")
    return "".join(f"{line}\n" for line in lines)


def rows(seen: Seen) -> list[tuple[str, ...]]:
    """One row per member, wave by wave; members in a ring of dependencies stand last, with no wave."""
    members = seen.members()
    waves = _waves(seen, members)
    found = [_row(seen, name, waves.get(name, 0)) for name in members]
    return [row for _, row in sorted(zip((_order(seen, name, waves) for name in members), found, strict=True))]


def fitting(table: Sequence[tuple[str, ...]], height: int) -> tuple[list[tuple[str, ...]], int]:
    """The rows that a screen has room for, and how many it has not: what is done goes first, then what comes last."""
    shown = list(table)
    for row in table:
        if len(shown) <= height:
            break
        if row[3] in (PHASE_LANDED, "Closed"):
            shown.remove(row)
    shown = shown[: max(1, height)]
    return shown, len(table) - len(shown)


def changes(before: Sequence[tuple[str, ...]], after: Sequence[tuple[str, ...]]) -> list[str]:
    """What happened between two looks, one line per member that moved."""
    old = {row[1]: row for row in before}
    lines = []
    for _, bead, name, phase, agent, reason, _ in after:
        was = old.get(bead)
        if was is None or was[3:6] == (phase, agent, reason):
            continue
        moved = f"{was[3]} -> {phase}" if was[3] != phase else phase
        who = f" {agent}" if agent != "-" else ""
        lines.append(f"{plain(bead)} {plain(name)}: {moved}{who}" + (f" ({plain(reason)})" if reason != "-" else ""))
    return lines


def _row(seen: Seen, name: str, wave: int) -> tuple[str, ...]:
    bead = seen.beads.get(name)
    number = str(wave) if wave else "-"
    if bead is None:
        return (number, name, "-", MISSING, "-", "no such bead", "")
    local_name = bead.metadata.annotations.get(labels.LOCAL_NAME, "-")
    agent = bead.spec.assignee or bead.status.agentName or "-"
    return (number, name, local_name, bead.status.phase or "-", agent, _why(seen, bead) or "-", bead.spec.title)


def _why(seen: Seen, bead: Bead) -> str:
    status = bead.status
    told = [_stage(seen, bead)]
    if status.reworks and status.phase == PHASE_LANDED:
        told.append(f"after {status.reworks} rework{'s' if status.reworks > 1 else ''}")
    elif status.reworks and status.lastRework is not None:
        told.insert(0, f"rework {status.reworks}: {status.lastRework.reason}")
    return ", ".join(part for part in told if part)


def _stage(seen: Seen, bead: Bead) -> str:
    phase = bead.status.phase
    if phase in (PHASE_BLOCKED, PHASE_READY):
        return why(bead)
    request = seen.requests.get(bead.status.mergeRequestName)
    if phase == PHASE_SUBMITTED and request is not None:
        position = f" {request.status.position}" if request.status.position else ""
        return f"merge request {request.status.phase or 'Pending'}{position}"
    if bead.status.landedCommits and phase == PHASE_LANDED:
        return f"as {bead.status.landedCommits[-1][:12]}"
    return bead.spec.closeReason


def _waves(seen: Seen, members: Sequence[str]) -> dict[str, int]:
    edges: dict[str, list[str]] = {}
    for name in members:
        bead = seen.beads.get(name)
        edges[name] = [edge.id for edge in bead.spec.dependencies if edge.type in BLOCKING_TYPES] if bead else []
    return {name: number for number, wave in enumerate(layers(edges), start=1) for name in wave}


def _order(seen: Seen, name: str, waves: Mapping[str, int]) -> tuple[int, int, str]:
    bead = seen.beads.get(name)
    return (waves.get(name, len(seen.beads) + 1), bead.spec.priority if bead else 9, name)
