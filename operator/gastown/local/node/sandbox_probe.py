"""Finds out, once per start of the agent, how well this machine lets containers be confined."""

from __future__ import annotations

import asyncio
import logging
import shutil
from pathlib import Path

from gastown.local.node.launcher import start_shim, wait_process
from gastown.local.node.mounts import plan_root
from gastown.local.node.run_files import read_exit

CONFINED = "namespaces"
UNCONFINED = "none"
_PROBE_SECONDS = 20.0

_log = logging.getLogger(__name__)


async def probe_sandbox(state_directory: Path) -> str:
    """Start `true` in a real sandbox. Whatever forbids it (kernel, AppArmor, seccomp of an outer container), only trying tells.

    Returns:
        CONFINED, or UNCONFINED after one log line with the reason.
    """
    directory = state_directory / "sandbox-probe"
    shutil.rmtree(directory, ignore_errors=True)
    for name in ("root", "scratch"):
        (directory / name).mkdir(parents=True)
    specification = {
        "run_directory": str(directory),
        "confined": True,
        "root": str(directory / "root"),
        "hostname": "probe",
        "plan": plan_root([], [], [], str(directory / "scratch")),
        "arguments": ["/bin/sh", "-c", "test $$ = 1"],
        "environment": {},
        "working_directory": "/",
    }
    async with asyncio.timeout(_PROBE_SECONDS):
        await wait_process(await start_shim(specification))
    ended = read_exit(directory)
    shutil.rmtree(directory, ignore_errors=True)
    if ended is not None and ended.code == 0:
        return CONFINED
    reason = ended.message if ended is not None else "the probe was killed"
    _log.warning(
        "sandbox.unavailable agents are NOT confined: %s. They see all files of this user; to confine them allow user namespaces", reason
    )
    return UNCONFINED
