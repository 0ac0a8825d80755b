"""Show what is on an agent's hook. What hangs there is to be worked on now."""

from __future__ import annotations

import argparse

from gastown.cli import output
from gastown.cli.beads import bead_table
from gastown.cli.hook import beads_on_hook, get_agent
from gastown.cli.place import add_place_arguments, find_place

EXAMPLE = """\
gt hook
gt hook --agent greeter-furiosa --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Whose hook."""
    add_place_arguments(parser, agent=True)


def run(options: argparse.Namespace) -> int:
    """Print the beads; an empty hook is an answer, too."""
    place = find_place(options)
    agent = get_agent(place)
    with place.connect("gt") as client:
        found = beads_on_hook(client, place, agent)
    if options.json:
        output.print_json(output.as_list(found))
    else:
        output.print_table(*bead_table(found), empty=f"Nothing is on the hook of {agent}.")
    return 0
