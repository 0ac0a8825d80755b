"""List merge requests rig by rig, in the order of the queue, with what the gates said; those that are over only when asked for."""

from __future__ import annotations

import argparse
from typing import Any

from gastown.api.codec import from_dict
from gastown.api.conditions import HEAD_PINNED, LANDED, VERIFIED, find_condition
from gastown.api.kinds import MERGE_REQUEST
from gastown.api.merge_request import OVER_WITHOUT_LANDING, PHASE_LANDED, MergeRequest
from gastown.cli import output
from gastown.cli.errors import about
from gastown.cli.place import add_place_arguments, find_place

EXAMPLE = """\
gt mq list
gt mq list --rig greeter --all --json
"""
HEADINGS = ("RIG", "POS", "MERGE REQUEST", "PHASE", "GATES", "AGENT", "AGE", "WHY")
_OVER = OVER_WITHOUT_LANDING | {PHASE_LANDED}
_FAR = 1 << 30


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to list."""
    parser.add_argument("--rig", default="", help="only this rig's")
    parser.add_argument("--all", action="store_true", help="also those that landed or came back")
    add_place_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Print the queues."""
    place = find_place(argparse.Namespace(**{**vars(options), "rig": ""}))
    selector = f"spec.rigName={options.rig}" if options.rig else ""
    with place.connect("gt") as client, about(f"merge requests in namespace {place.namespace}"):
        found = client.list_all(MERGE_REQUEST, place.namespace, field_selector=selector)
    if not options.all:
        found = [item for item in found if item.get("status", {}).get("phase", "") not in _OVER]
    found.sort(key=_place_in_queue)
    if options.json:
        output.print_json(output.as_list(found))
    else:
        output.print_table(
            HEADINGS, [row(item) for item in found], empty=f"No merge requests are under way in namespace {place.namespace}."
        )
    return 0


def row(item: dict[str, Any]) -> tuple[str, ...]:
    """One line of the table."""
    request = from_dict(MergeRequest, item)
    status = request.status
    gates = " ".join(f"{gate.name}:{gate.verdict or 'Pending'}" for gate in status.gateResults)
    return (
        request.spec.rigName,
        str(status.position or "-"),
        request.metadata.name,
        status.phase or "Pending",
        gates or "-",
        request.spec.agentName,
        output.age(request.metadata.creationTimestamp),
        _why(request),
    )


def _why(request: MergeRequest) -> str:
    for type_ in (HEAD_PINNED, VERIFIED, LANDED):
        condition = find_condition(request.status.conditions, type_)
        if condition is not None and condition.status == "False":
            return f"{condition.reason}: {condition.message}" if condition.message else condition.reason
    return ""


def _place_in_queue(item: dict[str, Any]) -> tuple[str, int, int, str, str]:
    request = from_dict(MergeRequest, item)
    metadata, spec = request.metadata, request.spec
    return (spec.rigName, request.status.position or _FAR, spec.priority, metadata.creationTimestamp, metadata.name)
