"""`bd`: beads from the command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from gastown.cli.program import Command
from gastown.cli.program import main as run_program

COMMANDS = (
    Command("create", "gastown.cli.bd.create", "file a bead"),
    Command("show", "gastown.cli.bd.show", "everything about one bead"),
    Command("list", "gastown.cli.bd.list", "beads that are not closed, or as asked for"),
    Command("ready", "gastown.cli.bd.ready", "beads that may start now, most urgent first"),
    Command("close", "gastown.cli.bd.close", "close beads that deliver no commit, or that nobody should do any more"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `bd`; the exit code."""
    return run_program("bd", "bd: beads, the units of work of a town", COMMANDS, sys.argv[1:] if arguments is None else arguments)


if __name__ == "__main__":
    sys.exit(main())
