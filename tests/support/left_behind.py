"""What a town has left on the machine: processes, mounts, open ports."""

from __future__ import annotations

import json
from pathlib import Path

from gastown.local.chart import repo_address
from gastown.local.child_processes import TOWN_VARIABLE
from gastown.local.ports import is_free
from gastown.local.process_identity import find_by_environment
from gastown.local.town_directory import TownDirectory

_GUARDIAN = "guardian.py"


def processes_of(directory: TownDirectory) -> list[str]:
    """Processes that were started for a town, have its folder in their arguments, or live in a sandbox made of it."""
    root = str(directory.root)
    found = {identity.pid for identity in find_by_environment(TOWN_VARIABLE, root)}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            told = (folder / "cmdline").read_text(errors="replace")
            if _GUARDIAN not in told and (root in told or root in (folder / "mountinfo").read_text(errors="replace")):
                found.add(int(folder.name))
        except OSError:
            continue
    return [f"{pid} {Path(f'/proc/{pid}/cmdline').read_text()}" for pid in found if Path(f"/proc/{pid}").exists()]


def open_ports(directory: TownDirectory) -> list[str]:
    """Addresses of a town on which somebody listens."""
    ports = json.loads(directory.ports.read_text()) if directory.ports.exists() else {}
    addresses = [("127.0.0.1", port) for port in ports.values()] + [repo_address(directory)]
    return [f"{host}:{port}" for host, port in addresses if not is_free(port, host)]


def left_behind(directory: TownDirectory) -> list[str]:
    """All of it, a line each; [] for a town that is down."""
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(directory.root) in line]
    return [*processes_of(directory), *mounts, *open_ports(directory)]
