"""Which process is meant, beyond its number: numbers are reused, and a stale one must never end a stranger."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_BOOT_ID = _PROC / "sys/kernel/random/boot_id"
_GONE_STATES = ("Z", "X")  # a zombie runs nothing any more; only its parent can take the entry away


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process of this boot of the machine.

    Attributes:
        pid: Its number.
        start_time: Field 22 of /proc/PID/stat: clock ticks from boot to its start. exec does not change it.
        boot_id: Of the boot that the ticks count from; after another boot the pair could come up again.
    """

    pid: int
    start_time: int
    boot_id: str

    def is_alive(self) -> bool:
        """Whether this very process still runs."""
        return find_identity(self.pid) == self

    def stop(self, grace_seconds: float) -> None:
        """SIGTERM, wait, SIGKILL, wait until it is gone. Nothing happens when it has ended, whoever has its number now."""
        with self._handle() as handle:
            if handle is None:
                return
            _signal(handle, signal.SIGTERM)
            if not _wait_for_exit(handle, grace_seconds):
                _signal(handle, signal.SIGKILL)
                # Even SIGKILL takes effect late when the process waits for a disk.
                _wait_for_exit(handle, 30.0)
            _reap(self.pid)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        with self._handle() as handle:
            if handle is not None:
                _signal(handle, signal.SIGKILL)
                _wait_for_exit(handle, 30.0)
                _reap(self.pid)

    @contextmanager
    def _handle(self) -> Iterator[int | None]:
        # Look after opening: from then on the handle can mean no other process, so what is checked is what gets the signal.
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            yield None
            return
        try:
            yield handle if self.is_alive() else None
        finally:
            os.close(handle)


def find_identity(pid: int) -> ProcessIdentity | None:
    """The process that has this number now; None if there is none, or only what its parent has not collected."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the command's name in parentheses and may hold spaces and parentheses itself.
    fields = stat.rpartition(")")[2].split()
    # The first thread of a killed program may be a zombie while others still hold its ports and files.
    if fields[0] in _GONE_STATES and int(fields[17]) <= 1:
        return None
    return ProcessIdentity(pid, int(fields[19]), _BOOT_ID.read_text().strip())


def find_by_environment(variable: str, value: str) -> list[ProcessIdentity]:
    """Processes of this user that were started with this variable: finds also those whose record was never written or is lost."""
    wanted = f"{variable}={value}".encode()
    found = []
    for folder in _PROC.iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            identity = find_identity(int(folder.name))
            environment = (folder / "environ").read_bytes()
        except OSError:  # ended meanwhile, or somebody else's
            continue
        if identity is not None and wanted in environment.split(b"\0"):
            found.append(identity)
    return found


def stop_all(identities: list[ProcessIdentity], grace_seconds: float) -> None:
    """Stop several at once, so that their grace periods run side by side."""
    for identity in identities:
        with identity._handle() as handle:
            if handle is not None:
                _signal(handle, signal.SIGTERM)
    deadline = time.monotonic() + grace_seconds
    for identity in identities:
        identity.stop(max(0.0, deadline - time.monotonic()))


def _signal(handle: int, number: signal.Signals) -> None:
    try:
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:  # ended between the look and the signal
        return


def _wait_for_exit(handle: int, timeout_seconds: float) -> bool:
    return bool(select.select([handle], [], [], timeout_seconds)[0])


def _reap(pid: int) -> None:
    # Only when it is our own child: the same program may have called up and down, as tests do.
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return
