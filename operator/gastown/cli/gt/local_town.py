"""What `gt up`, `gt down` and `gt status` share: the town's name, progress on standard error, its errors in our form."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from gastown.cli.errors import FAILED, CommandError

DEFAULT_TOWN = "default"


def add_town_argument(parser: argparse.ArgumentParser) -> None:
    """Declare --town and --json."""
    parser.add_argument("--town", default=DEFAULT_TOWN, help="name of the local town (default: default)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def report(line: str) -> None:
    """A step of the work, for the person who waits."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def translating(town: str) -> Iterator[None]:
    """The local town's errors in our form, and what to do after Ctrl-C."""
    from gastown.local.errors import LocalTownError

    try:
        yield
    except KeyboardInterrupt:
        flag = "" if town == DEFAULT_TOWN else f" --town {town}"
        report(f"stopped half-way: `gt up{flag}` goes on from here, `gt down{flag}` stops what runs of local town {town}")
        raise
    except LocalTownError as error:
        raise CommandError(f"local town {town}", str(error), exit_code=FAILED, reason="LocalTown") from error
