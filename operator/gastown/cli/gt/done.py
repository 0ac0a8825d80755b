"""Hand in the work on the bead on my hook: the gates run on the commit, it is pushed, a MergeRequest asks for its merge, the session ends.

Nothing is committed for you: a worktree with changes is refused, with the files named. A red gate is shown, and you go on. A bead that
delivers no commit is closed. Repeat the command after any failure or kill.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from gastown.api.text import plain, plain_lines
from gastown.cli import output
from gastown.cli.errors import CommandError
from gastown.cli.place import add_place_arguments, find_place
from gastown.cli.workplace import find_workplace
from gastown.polecat import session as sessions
from gastown.polecat.git import GitError
from gastown.polecat.patience import Surroundings
from gastown.polecat.result import Result, to_plain, write_result
from gastown.polecat.submit import submit

EXAMPLE = """\
git commit -am "Greet in French" && gt done
gt done --reason "decided against it"     for a bead that delivers no commit
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How to hand in."""
    parser.add_argument(
        "--skip-gates", action="store_true", help="hand in without running the gates here; the merge queue runs them anyway"
    )
    parser.add_argument("-r", "--reason", default="", help="why a bead that delivers no commit is done")
    add_place_arguments(parser, agent=True)


def run(options: argparse.Namespace) -> int:
    """Hand in and tell the harness."""
    place = find_place(options)
    with place.connect("gt") as client:
        work = find_workplace(place, client).submission(skip_gates=options.skip_gates, close_reason=options.reason)
        try:
            result = submit(work, Surroundings(client, _report))
        except GitError as error:
            raise CommandError(f"worktree {work.worktree}", str(error), reason="GitFailed") from error
    _tell_harness(result)
    if options.json:
        output.print_json({"kind": "SessionResult", **to_plain(result)})
    else:
        print(plain(f"{result.outcome}: {result.message}"))
    return 0


def _report(line: str) -> None:
    print(plain_lines(line), file=sys.stderr, flush=True)


def _tell_harness(result: Result) -> None:
    """Only in a session: the harness ends it when this file is there."""
    if file := os.environ.get(sessions.RESULT_FILE, ""):
        write_result(Path(file), result)
