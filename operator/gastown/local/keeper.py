"""Keeps the processes of a town running: one that ended by itself is started again, with the command that `gt up` gave it.

A laptop runs out of memory, and the kernel picks a victim; on a cluster systemd or the kubelet would bring it back. `gt up` starts
the keeper last and `gt down` stops it first. It is a process like the others: if it is the victim itself, all goes on without it,
and the next `gt up` starts a new one.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gastown.local.child_processes import ChildProcesses, Command
from gastown.local.errors import LocalTownError
from gastown.local.town_directory import TownDirectory

KEEPER = "keeper"
_LOOK_SECONDS = 1.0
# After the first restart, which is at once; doubled for each further one. What can not run (its port is taken, the disk is full) must
# not burn the laptop's CPU.
_FIRST_WAIT_SECONDS = 1.0
_LONGEST_WAIT_SECONDS = 60.0
# A process that ran this long was healthy: its next end begins a new series.
_HEALTHY_SECONDS = 60.0


@dataclass(slots=True)
class _Series:
    """Restarts of one process in a row."""

    count: int = 0
    last: float = float("-inf")

    def wait_seconds(self) -> float:
        return min(_FIRST_WAIT_SECONDS * 2 ** (self.count - 1), _LONGEST_WAIT_SECONDS) if self.count else 0.0


class Keeper:
    """Looks after the processes of one town.

    Args:
        report: Told each restart, and why one failed.
        clock: Monotonic seconds.
    """

    def __init__(self, directory: TownDirectory, report: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._directory = directory
        self._processes = ChildProcesses(directory)
        self._report = report
        self._clock = clock
        self._series: dict[str, _Series] = {}

    def look(self) -> None:
        """Start again what has ended and is due."""
        self._processes.collect()
        if not self._due():
            return
        # Whoever holds the lock is bringing the town up or down, and knows better; so look again once it is ours.
        with self._directory.lock(lambda _: None):
            for name in self._due():
                self._restart(name)

    def _due(self) -> list[str]:
        now = self._clock()
        ended = [name for name in self._processes.names() if name != KEEPER and self._processes.find(name) is None]
        return [name for name in ended if now >= self._of(name, now).last + self._of(name, now).wait_seconds()]

    def _of(self, name: str, now: float) -> _Series:
        series = self._series.setdefault(name, _Series())
        if series.count and now - series.last > series.wait_seconds() + _HEALTHY_SECONDS:
            series.count = 0
        return series

    def _restart(self, name: str) -> None:
        now = self._clock()
        series = self._of(name, now)
        series.count, series.last = series.count + 1, now
        try:
            if self._processes.revive(name):
                self._report(f"{name} had ended and was started again")
        except (LocalTownError, OSError) as error:
            self._report(f"{name} had ended and could not be started again: {error}; next try in {series.wait_seconds():.0f} s")


def keeper_command(directory: TownDirectory) -> Command:
    """Runs the keeper of a town."""
    # Its code too: after an upgrade of gastown the new one takes over.
    sources = sorted(Path(__file__).parent.glob("*.py"))
    # -P: what lies in the current folder must not pose as a module of ours.
    return Command([sys.executable, "-P", "-m", "gastown.local.keeper", directory.name, str(directory.root)], files=sources)


def main() -> None:
    """Keep the town named by the arguments until SIGTERM."""
    keeper = Keeper(TownDirectory(sys.argv[1], Path(sys.argv[2])), _say)
    while True:
        try:
            keeper.look()
        except (LocalTownError, OSError) as error:
            _say(f"the town could not be looked at: {error}")
        time.sleep(_LOOK_SECONDS)


def _say(line: str) -> None:
    with contextlib.suppress(OSError):  # a full disk ends the etcd that we are to start again, and must not end us
        print(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {line}", flush=True)


if __name__ == "__main__":
    main()
