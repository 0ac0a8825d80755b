"""Print what an agent is to know: who it is, its bead, the rules, and how to end. The same text its session began with."""

from __future__ import annotations

import argparse

from gastown.api.codec import to_dict
from gastown.cli import output
from gastown.cli.place import add_place_arguments, find_place
from gastown.cli.workplace import find_workplace
from gastown.polecat.context import render

EXAMPLE = """\
gt prime
gt prime --agent greeter-furiosa
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """For whom."""
    add_place_arguments(parser, agent=True)


def run(options: argparse.Namespace) -> int:
    """Print the text."""
    place = find_place(options)
    with place.connect("gt") as client:
        workplace = find_workplace(place, client)
    text = render(workplace.bead, workplace.circumstances())
    if options.json:
        output.print_json({"kind": "Context", "agent": workplace.agent, "bead": to_dict(workplace.bead), "text": text})
    else:
        print(text, end="")
    return 0
