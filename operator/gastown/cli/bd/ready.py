"""List beads that may start now: open, not blocked, on nobody's hook; most urgent first."""

from __future__ import annotations

import argparse

from gastown.api.bead import PHASE_READY
from gastown.cli import output
from gastown.cli.beads import bead_table, is_startable, list_beads
from gastown.cli.place import add_place_arguments, find_place

EXAMPLE = """\
bd ready
bd ready --rig greeter --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags that narrow the list."""
    parser.add_argument("--rig", default="", help="only those of this rig")
    parser.add_argument("--limit", type=int, default=0, help="at most this many")
    add_place_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Print the list."""
    place = find_place(argparse.Namespace(**{**vars(options), "rig": ""}))
    selector = f"status.phase={PHASE_READY}" + (f",spec.rigName={options.rig}" if options.rig else "")
    with place.connect("bd") as client:
        found = [item for item in list_beads(client, place.namespace, field_selector=selector) if is_startable(item)]
    found = found[: options.limit or None]
    if options.json:
        output.print_json(output.as_list(found))
    else:
        output.print_table(*bead_table(found), empty=f"Nothing is ready in namespace {place.namespace}; see `bd list` for what blocks.")
    return 0
