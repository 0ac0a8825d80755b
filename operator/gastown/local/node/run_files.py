"""Reads what a shim leaves in its run directory, and tells whether its processes still live.

A process is named by id and start time together, so nothing here ever signals a stranger that was given the same id.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from gastown.local.node.shim import write_lines

UNKNOWN_EXIT_CODE = 137


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process of this boot.

    Attributes:
        start_ticks: Field 22 of /proc/PID/stat; "" when the process was gone before it could be read.
    """

    process_id: int
    start_ticks: str

    def is_alive(self) -> bool:
        """Whether this very process exists and is no zombie."""
        try:
            fields = Path(f"/proc/{self.process_id}/stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            return False
        return fields[19].decode() == self.start_ticks and fields[0] not in (b"Z", b"X")

    def open(self) -> int | None:
        """A pidfd for it (the caller closes), or None if it is gone."""
        try:
            descriptor = os.pidfd_open(self.process_id)
        except OSError:
            return None
        # Checked after the opening: from here on the descriptor cannot come to mean another process.
        if self.is_alive():
            return descriptor
        os.close(descriptor)
        return None

    def send_signal(self, number: signal.Signals) -> bool:
        """Signal it; False if it is gone already."""
        descriptor = self.open()
        if descriptor is None:
            return False
        try:
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(descriptor)
        return True


@dataclass(frozen=True, slots=True)
class RunState:
    """Content of the `state` file: which processes make up this run of a container."""

    shim: ProcessIdentity
    init: ProcessIdentity
    started: float
    boot_id: str
    is_confined: bool


@dataclass(frozen=True, slots=True)
class RunExit:
    """Content of the `exit` file.

    Attributes:
        started, finished: Seconds since the epoch.
        reason: Only when it is not to be derived from the code, such as StartError.
    """

    code: int
    started: float
    finished: float
    reason: str = ""
    message: str = ""


def read_state(directory: Path) -> RunState | None:
    """The `state` file of a run directory, or None if its container never got a process.

    A damaged file counts as none: renames are whole, so only a power cut leaves one, and that left no process either.
    """
    fields = _read_fields(directory / "state")
    try:
        shim, init = _identity(fields["shim"]), _identity(fields["init"])
        return RunState(shim, init, float(fields["started"]), fields["boot"], fields.get("confined") == "1")
    except (KeyError, ValueError):
        return None


def read_exit(directory: Path) -> RunExit | None:
    """The `exit` file of a run directory, or None while the container runs (or if its shim was killed)."""
    fields = _read_fields(directory / "exit")
    try:
        times = float(fields["started"]), float(fields["finished"])
        return RunExit(int(fields["code"]), *times, fields.get("reason", ""), fields.get("message", ""))
    except (KeyError, ValueError):
        return None


def write_exit(directory: Path, ended: RunExit) -> None:
    """Write what a shim that was killed could not."""
    fields = {"code": ended.code, "started": ended.started, "finished": ended.finished, "reason": ended.reason, "message": ended.message}
    write_lines(str(directory / "exit"), fields)


def current_boot_id() -> str:
    """Process ids and start times mean something within one boot only."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _read_fields(path: Path) -> dict[str, str]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _identity(text: str) -> ProcessIdentity:
    process_id, _, ticks = text.partition(":")
    return ProcessIdentity(int(process_id), ticks)
