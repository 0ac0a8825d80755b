"""Stop a town on this machine and everything that runs in it. Its data stays, and `gt up` brings it back."""

from __future__ import annotations

import argparse

from gastown.cli import output
from gastown.cli.gt.local_town import add_town_argument, report, translating

EXAMPLE = """\
gt down
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which town."""
    add_town_argument(parser)


def run(options: argparse.Namespace) -> int:
    """Take it down."""
    from gastown.local import town

    with translating(options.town):
        town.down(options.town, report=report)
    if options.json:
        output.print_json({"kind": "LocalTown", "name": options.town, "up": False})
    return 0
