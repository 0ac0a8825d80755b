"""`gt`: the workspace from the command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from gastown.cli.program import Command
from gastown.cli.program import main as run_program

COMMANDS = (
    Command("up", "gastown.cli.gt.up", "start a town on this machine, or update it"),
    Command("down", "gastown.cli.gt.down", "stop it and keep its data"),
    Command("status", "gastown.cli.gt.status", "is the town up, and what is it doing?"),
    Command("hook", "gastown.cli.gt.hook", "what is on my hook?"),
    Command("prime", "gastown.cli.gt.prime", "who am I, and what am I to do?"),
    Command("done", "gastown.cli.gt.done", "hand in the work on my bead"),
    Command("convoy list", "gastown.cli.gt.convoy_list", "all convoys"),
    Command("convoy status", "gastown.cli.gt.convoy_status", "one convoy, bead by bead"),
    Command("mq list", "gastown.cli.gt.mq_list", "the merge queue of each rig"),
    Command("credential", "gastown.cli.gt.credential", "git credential helper for the repositories of the town"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `gt`; the exit code."""
    return run_program("gt", "gt: the workspace of a town", COMMANDS, sys.argv[1:] if arguments is None else arguments)


if __name__ == "__main__":
    sys.exit(main())
