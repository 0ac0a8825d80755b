"""Finds an agent's processes, and ends those it left behind: double-forked ones have a session of their own and get no group signal."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

_PROC = Path("/proc")


def descendants(root: int) -> set[int]:
    """Process IDs of all that descend from a process, without itself."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdecimal() and (parent := _parent_of(entry)):
            children.setdefault(parent, []).append(int(entry.name))
    found: set[int] = set()
    waiting = [root]
    while waiting:
        for child in children.get(waiting.pop(), []):
            if child not in found:
                found.add(child)
                waiting.append(child)
    return found


def work_of(root: int, without: int) -> tuple[int, int]:
    """What the processes under one did so far: any of both numbers changes when they do anything at all.

    Args:
        without: One of them that does not count, nor do its ended children: the caller itself.

    Returns:
        Processor time in clock ticks, that of their ended children included; and the highest process ID.
    """
    found = descendants(root) - {without}
    return sum(_ticks_of(process) for process in found), max(found, default=0)


def end_all(root: int, *, within_seconds: float = 5.0, sleep: Callable[[float], None] = time.sleep) -> int:
    """Kill all that descend from a process but the caller, again until none is left.

    Args:
        root: An ancestor of ours, or ourselves: never PID 1 of a machine.

    Returns:
        How many were killed.
    """
    killed: set[int] = set()
    deadline = time.monotonic() + within_seconds
    while left := descendants(root) - {os.getpid()} - _dead(killed):
        for process in left:
            try:
                os.kill(process, signal.SIGKILL)
                killed.add(process)
            except (ProcessLookupError, PermissionError):
                pass
        if time.monotonic() >= deadline:
            break
        sleep(0.02)
    return len(killed)


def _parent_of(entry: Path) -> int:
    try:
        text = (entry / "stat").read_text(errors="replace")
    except OSError:
        return 0
    # The name in parentheses may itself hold parentheses and spaces.
    return int(text.rpartition(")")[2].split()[1])


def _ticks_of(process: int) -> int:
    try:
        text = (_PROC / str(process) / "stat").read_text(errors="replace")
    except OSError:
        return 0
    # Fields 14 to 17 of proc(5), of which the first two stand before the parenthesis.
    return sum(int(word) for word in text.rpartition(")")[2].split()[11:15])


def _dead(processes: set[int]) -> set[int]:
    """Those that are zombies: killed, and waiting for their parent to look."""
    return {process for process in processes if _state_of(process) == "Z"}


def _state_of(process: int) -> str:
    try:
        return (_PROC / str(process) / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except OSError:
        return ""
