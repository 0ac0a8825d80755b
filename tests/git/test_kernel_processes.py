"""Several refineries at once on one repository, some of them killed: main stays what the kernel promises."""

from __future__ import annotations

import multiprocessing
import random
import time
from pathlib import Path

from gastown_git.git_process import run_git
from gastown_git.refinery.evidence import find_evidence
from gastown_git.repository import Repository
from support import git_builder as build
from support import land_race as race
from support.eventually import eventually

_SPAWN = multiprocessing.get_context("spawn")


def start(rig: Repository, name: str, folder: Path, times: int) -> multiprocessing.process.BaseProcess:
    process = _SPAWN.Process(target=race.land_for_ever, args=(rig.path, name, folder / f"{name}.acknowledged", times))
    process.start()
    return process


def check_main(rig: Repository, adopted: str, folder: Path) -> int:
    """Claims of the kernel; gives the number of acknowledged heads."""
    tip = build.main_of(rig)
    for landing in rig.first_parent_log(tip):
        if landing.commit == adopted:
            break
        evidence = find_evidence(rig, race.GATES, landing.tree)
        assert evidence is not None
        assert evidence.is_green
    else:
        raise AssertionError("main no longer descends from where it was adopted")
    heads = [line for file in folder.glob("*.acknowledged") for line in file.read_text().split()]
    assert [head for head in heads if not rig.is_ancestor(head, tip)] == []
    run_git(["fsck", "--strict", "--connectivity-only"], repository=rig.path, timeout_seconds=60)
    return len(heads)


def test_two_refineries_at_once_lose_nothing(rig: Repository, tmp_path: Path) -> None:
    adopted = build.main_of(rig)
    processes = [start(rig, name, tmp_path, 20) for name in ("one", "other")]
    for process in processes:
        process.join(timeout=100)
        assert process.exitcode == 0
    assert check_main(rig, adopted, tmp_path) == 40
    assert len(list(rig.first_parent_log(build.main_of(rig)))) == 41


def test_refineries_killed_at_any_moment_leave_a_main_that_goes_on(rig: Repository, tmp_path: Path) -> None:
    adopted = build.main_of(rig)
    dice = random.Random(7)
    for round_number in range(4):
        before = build.main_of(rig)
        processes = [start(rig, f"{round_number}-{name}", tmp_path, 1000) for name in ("one", "other")]
        eventually(lambda before=before: build.main_of(rig) != before, timeout_seconds=60, describe="landings")  # type: ignore[misc]
        time.sleep(dice.uniform(0, 0.05))  # killed somewhere in the middle of a landing; nothing is waited for
        for process in processes:
            process.kill()
            process.join(timeout=20)
        check_main(rig, adopted, tmp_path)
    last = start(rig, "last", tmp_path, 2)
    last.join(timeout=60)
    assert last.exitcode == 0
    assert check_main(rig, adopted, tmp_path) >= 2
