"""A process that lands work of its own as fast as it can; a module of its own because spawned processes import it by name."""

from __future__ import annotations

import os
from pathlib import Path

from gastown_git import stale_locks
from gastown_git.merge import Head, Stack, stack
from gastown_git.refinery import kernel
from gastown_git.refinery.evidence import find_evidence, record_attempt
from gastown_git.refinery.verdicts import Attempt, Verdict
from gastown_git.repository import Repository
from support import git_builder as build

GATES = "ab" * 32


def land_for_ever(path: Path, name: str, acknowledged: Path, times: int) -> None:
    """Land some heads, each with a file of its own; what is acknowledged is written down, a line per head.

    Args:
        path: The repository.
        name: Of this process; part of its files' names.
        acknowledged: Where to write.
        times: Landings to do.
    """
    # Neighbours are killed here all the time; but one that only waits for the CPU must not lose its lock.
    stale_locks.ABANDONED_SECONDS = 2.0
    repository = Repository.open(path)
    with acknowledged.open("a", buffering=1) as file:
        for number in range(times):
            head = build.change(repository, build.main_of(repository), {f"{name}-{os.getpid()}-{number}": b"1"})
            while not land_once(repository, head):
                pass
            file.write(f"{head}\n")


def land_once(repository: Repository, head: str) -> bool:
    """Build, gate green and land one head on the present main; False when another was faster."""
    made = stack(repository, kernel.anchor(repository, build.main_of(repository)), [Head(head, build.author(), "Merge")])
    assert isinstance(made, Stack)
    if find_evidence(repository, GATES, made.tree) is None:
        record_attempt(repository, GATES, made.tree, Attempt(1, Verdict.PASSED, made.commit, made.commit))
    try:
        kernel.land(repository, "main", made.commit, [head], GATES, build.REFINERY, "Land")
    except kernel.MainMoved:
        return False
    return True
