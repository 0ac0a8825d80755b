"""List beads, most urgent first; those that are closed only when asked for."""

from __future__ import annotations

import argparse
from typing import Any

from gastown.api import labels
from gastown.api.bead import CLOSED, DEFERRED, OPEN, PHASES, PINNED
from gastown.api.names import shorten
from gastown.cli import output
from gastown.cli.beads import bead_table, list_beads
from gastown.cli.place import add_place_arguments, find_place

EXAMPLE = """\
bd list --rig greeter
bd list --phase Blocked --json
bd list --assignee greeter-furiosa --all
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags that narrow the list; the server does the narrowing."""
    parser.add_argument("--all", action="store_true", help="also closed ones")
    parser.add_argument("--state", choices=(OPEN, DEFERRED, PINNED, CLOSED), default="", help="only those asked to be in this state")
    parser.add_argument("--phase", choices=PHASES, default="", help="only those seen in this phase")
    parser.add_argument("--rig", default="", help="only those of this rig")
    parser.add_argument("--assignee", default="", help="only those on this agent's hook")
    parser.add_argument("--parent", default="", help="only children of this bead")
    parser.add_argument("--type", default="", help="only those of this type, such as bug")
    parser.add_argument("--label", action="append", default=[], help="only those with this label; may be repeated")
    parser.add_argument("--convoy", default="", help="only those that this convoy created")
    add_place_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Print the list."""
    place = find_place(argparse.Namespace(**{**vars(options), "rig": ""}))
    fields = {
        "spec.state": options.state,
        "status.phase": options.phase,
        "spec.rigName": options.rig,
        "spec.assignee": options.assignee,
        "spec.parent": options.parent.lower(),
        "spec.type": options.type,
    }
    chosen = [f"{name}={value}" for name, value in fields.items() if value]
    if not options.all and not options.state and options.phase not in ("Landed", "Closed"):
        chosen.append(f"spec.state!={CLOSED}")
    convoy = f"{labels.CONVOY}={shorten(options.convoy)}" if options.convoy else ""
    with place.connect("bd") as client:
        found = list_beads(client, place.namespace, field_selector=",".join(chosen), label_selector=convoy)
    found = [item for item in found if _has_labels(item, options.label)]
    if options.json:
        output.print_json(output.as_list(found))
    else:
        output.print_table(*bead_table(found), empty=f"No such beads in namespace {place.namespace}.")
    return 0


def _has_labels(item: dict[str, Any], wanted: list[str]) -> bool:
    return set(wanted) <= set(item.get("spec", {}).get("labels", []))
