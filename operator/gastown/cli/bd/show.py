"""Show everything about a bead: what is wanted, how far it is, and if it does not move, why."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from gastown.api.bead import Bead
from gastown.api.codec import from_dict
from gastown.api.text import plain, quoted
from gastown.cli import output
from gastown.cli.beads import get_bead
from gastown.cli.place import add_place_arguments, find_place
from gastown.polecat import rework

EXAMPLE = """\
bd show gp-a3f8
bd show gp-a3f8 --json
"""
_TEXTS = (("description", "Description"), ("design", "Design"), ("acceptanceCriteria", "Acceptance criteria"), ("notes", "Notes"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The beads."""
    parser.add_argument("id", nargs="+", metavar="ID", help="of a bead")
    add_place_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Print the beads."""
    place = find_place(options)
    with place.connect("bd") as client:
        found = [get_bead(client, place.namespace, bead_id) for bead_id in options.id]
    if options.json:
        output.print_json(found[0] if len(found) == 1 else output.as_list(found))
    else:
        print("\n".join(describe(item) for item in found), end="")
    return 0


def describe(item: dict[str, Any]) -> str:
    """A bead as text, ending in a line end; anybody's text stands behind a bar."""
    bead = from_dict(Bead, item)
    lines = [f"{plain(bead.metadata.name)}  {plain(bead.spec.title)}"]
    lines += [f"  {name + ':':<16}{plain(value)}" for name, value in _facts(bead) if value]
    lines += [f"  {plain(line)}" for line in _conditions(bead)]
    text = "".join(f"{line}\n" for line in lines)
    for name, heading in _TEXTS:
        if value := getattr(bead.spec, name):
            text += f"\n{heading}:\n{quoted(value)}"
    if came_back := rework.evidence(bead.status):
        text += f"\nWhy it came back:\n\n{came_back}"
    for comment in bead.spec.comments:
        text += f"\nComment by {plain(comment.author) or 'somebody'} {plain(comment.createdTime)}:\n{quoted(comment.text)}"
    return text


def _facts(bead: Bead) -> Iterator[tuple[str, str]]:
    spec, status = bead.spec, bead.status
    outcomes = {(edge.id, edge.type): edge.outcome for edge in status.dependencies}
    yield "phase", status.phase + (f" (asked to be {spec.state})" if spec.state != "open" else "")
    yield "closed because", spec.closeReason
    yield "blocked by", ", ".join(status.blockedBy)
    yield "rig", spec.rigName
    yield "type", f"{spec.type}, priority {spec.priority}, delivers {spec.delivery}"
    yield "on hook of", spec.assignee
    yield "owner", spec.owner
    yield "created by", spec.createdBy
    yield "labels", ", ".join(spec.labels)
    yield "parent", spec.parent
    for edge in spec.dependencies:
        outcome = outcomes.get((edge.id, edge.type), "")
        yield "depends on", f"{edge.id} ({edge.type}{', ' + outcome if outcome else ''})"
    yield "attempts", ", ".join(f"{count} {name}" for name, count in (("failed", status.attempts), ("reworks", status.reworks)) if count)
    yield "branch", status.branch
    yield "head", status.head[:12]
    yield "merge request", status.mergeRequestName
    yield "landed as", ", ".join(commit[:12] for commit in status.landedCommits)
    if status.lastRework:
        yield "came back", f"{plain(status.lastRework.reason)}: {plain(status.lastRework.message)}".removesuffix(": ")


def _conditions(bead: Bead) -> Iterator[str]:
    for condition in bead.status.conditions:
        message = f": {condition.message}" if condition.message else ""
        yield f"{condition.type}={condition.status} {condition.reason}{message}"
