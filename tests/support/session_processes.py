"""The processes of sessions as the machine sees them: the process node runs them under our own user."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

_PROC = Path("/proc")


def processes_of(pod_uid: str) -> dict[int, str]:
    """Process ID -> command line of all that carry the session's environment: its PID 1, its harness and its agent."""
    wanted = f"GASTOWN_POD_UID={pod_uid}".encode()
    found: dict[int, str] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
    return found


def harnesses_of(pod_uid: str) -> list[int]:
    """The session's PID 1 and, after it, the harness: both are `gastown-polecat run`."""
    return sorted(process for process, command in processes_of(pod_uid).items() if "gastown-polecat run" in command)


def send(processes: list[int], number: signal.Signals) -> None:
    """Signal those that are still there."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)
