"""A landing killed between any two system calls, twice in a row: it lands once, and nothing on main or upstream was not gated.

One landing is what the refinery does for a green candidate: merge, evidence, the candidate's ref, the kernel, the push to the upstream. It
runs in a process of its own and is killed with its git processes right before its n-th system call that can change a file, so also between
the lock of a ref and its renaming. What lies about then is what libgit2 and git leave: locks, half objects, half packs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from gastown_git.git_process import run_git
from gastown_git.refinery.evidence import find_evidence
from gastown_git.repository import Repository
from support import git_builder as build
from support import land_race
from support import system_call_stepper as stepper

pytestmark = pytest.mark.skipif(not stepper.can_step(), reason="the table of system calls is that of Linux on x86-64")

# Of about 110; the soak takes every one.
SAMPLES = 6
LAND = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from gastown_git import stale_locks
stale_locks.ABANDONED_SECONDS = 0.3
from gastown_git.repository import Repository
from gastown_git.upstream import push_branch
from support import git_builder, land_race
repository, head, upstream = Repository.open(Path(sys.argv[2])), sys.argv[3], sys.argv[4]
while not repository.is_ancestor(head, git_builder.main_of(repository)):
    land_race.land_once(repository, head)
push_branch(repository, f"file://{upstream}", "main", git_builder.main_of(repository))
"""


@dataclass
class Mill:
    """A rig whose heads are landed one after the other."""

    rig: Repository
    upstream: Repository
    number: int = 0

    def next_head(self) -> str:
        """Work that is handed in and pinned."""
        self.number += 1
        head = build.change(self.rig, build.main_of(self.rig), {f"file-{self.number}": b"1"})
        self.rig.refs.create(f"refs/mr/gp-{self.number}", head)
        return head

    def land(self, head: str, kill_before: int) -> str:
        """Land a head, or be killed at it; gives the stepper's last words."""
        arguments = [str(Path(__file__).parent.parent), str(self.rig.path), head, str(self.upstream.path)]
        command = [sys.executable, stepper.__file__, str(kill_before), sys.executable, "-c", LAND, *arguments]
        done = subprocess.run(
            command, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}, capture_output=True, text=True, timeout=240, check=False
        )
        last = done.stdout.splitlines()[-1] if done.stdout else ""
        assert last.startswith(("killed", "ended 0")), f"{last}\n{done.stderr}"
        return last

    def check(self, when: str) -> None:
        """What holds at any moment."""
        rig = Repository.open(self.rig.path)
        for landing in rig.first_parent_log(build.main_of(rig)):
            if not landing.parents:
                break  # the adopted one
            evidence = find_evidence(rig, land_race.GATES, landing.tree)
            assert evidence is not None, when
            assert evidence.is_green, when
        for number in range(1, self.number + 1):
            assert rig.refs.find(f"refs/mr/gp-{number}"), when
        for path in (rig.path, self.upstream.path):
            run_git(["fsck", "--strict", "--no-dangling"], repository=path, timeout_seconds=60)

    def landings(self) -> list[str]:
        """Trees of main, newest first."""
        rig = Repository.open(self.rig.path)
        return [landing.tree for landing in rig.first_parent_log(build.main_of(rig))]

    def land_killed_twice_before(self, call: int) -> bool:
        """One head under two deaths; False when the landing has fewer calls."""
        head, before = self.next_head(), self.landings()
        last = self.land(head, call)
        for again in (self.land(head, call), self.land(head, 0)):
            self.check(f"before call {call}: {last}; then {again}")
        assert again.startswith("ended 0")
        after = self.landings()
        assert after[1:] == before, f"{last}: landed {len(after) - len(before)} times"
        assert Repository.open(self.rig.path).is_ancestor(head, build.main_of(self.rig)), last
        assert build.main_of(self.upstream) == build.main_of(self.rig), last
        return last.startswith("killed")


@pytest.fixture
def mill(rig: Repository, tmp_path: Path) -> Mill:
    upstream = Repository.create(tmp_path / "upstream.git")
    run_git(["push", "--quiet", str(upstream.path), "main"], repository=rig.path, timeout_seconds=60)
    return Mill(rig, upstream)


@pytest.mark.timeout(900)
def test_a_landing_killed_at_some_system_calls_lands_once(mill: Mill) -> None:
    calls = int(mill.land(mill.next_head(), 0).split()[-1])
    assert calls > SAMPLES
    for sample in range(SAMPLES):
        # Not to the very end: the number differs a little, by folders that are there already.
        assert mill.land_killed_twice_before(1 + sample * calls * 3 // 4 // (SAMPLES - 1))


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_landing_killed_between_any_two_system_calls_lands_once(mill: Mill) -> None:
    call = 1
    while mill.land_killed_twice_before(call):
        call += 1
    assert call > SAMPLES
    print(f"{call - 1} kills, each twice")
