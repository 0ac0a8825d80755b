"""Stops a test's town when the test process is gone, however it went: run as a child whose standard input nobody writes to."""

from __future__ import annotations

import sys
from pathlib import Path

from gastown.local import control_plane
from gastown.local.child_processes import ChildProcesses
from gastown.local.town_directory import TownDirectory


def main() -> None:
    """Wait for the end of standard input, then stop what still runs of the town in argv[1]."""
    directory = TownDirectory("test", Path(sys.argv[1]))
    sys.stdin.buffer.read()
    control_plane.stop(directory)
    ChildProcesses(directory).stop_strays(5.0)


if __name__ == "__main__":
    main()
