"""Stops a test's town when the test process is gone, however it went: run as a child whose standard input nobody writes to."""

from __future__ import annotations

import sys
from pathlib import Path

from gastown.local import town
from gastown.local.town_directory import TownDirectory


def main() -> None:
    """Wait for the end of standard input, then stop what still runs of the town in argv[1]."""
    directory = TownDirectory("test", Path(sys.argv[1]))
    sys.stdin.buffer.read()
    town.down(report=lambda _: None, directory=directory)


if __name__ == "__main__":
    main()
