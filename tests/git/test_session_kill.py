"""A checkpoint killed between any two system calls: the agent notices nothing, and the next checkpoint holds all of its work.

A real checkpoint runs in a process of its own and is killed, git's processes included, right before its n-th system call that can change
a file or reach the server (`support.system_call_stepper`). Between two such calls nothing changes that anybody could see, so the kills
before every n are the kills between any two system calls. The repo-server is a real one, and is not killed: it is another machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gastown.polecat.checkout import checkout
from gastown.polecat.checkpoint import Checkpointer
from gastown.polecat.git import Git, GitError
from gastown.polecat.session import Session
from support import git_server
from support import system_call_stepper as stepper
from support.eventually import eventually
from support.session_builder import everything_of_the_agents, git, tree_of_worktree

pytestmark = pytest.mark.skipif(not stepper.can_step(), reason="the table of system calls is that of Linux on x86-64")

# Of about 150; the soak takes every one.
SAMPLES = 12
PAIRS = 4
TAKE = """
import sys
from pathlib import Path
from gastown.polecat.checkpoint import Checkpointer
from gastown.polecat.git import Git
from gastown.polecat.session import Session
url, token_file, workspace = sys.argv[1:]
here = Session(namespace="town", rig="greeter", agent="greeter-furiosa", bead="gp-a3f8", repository_url=url, token_file=token_file,
               workspace=Path(workspace))
Checkpointer(here, Git(here.worktree)).take()
"""


@dataclass
class Workplace:
    """An agent at work, with a server to keep its checkpoints."""

    server: git_server.Server
    here: Session
    progress: int = 0

    def work(self) -> None:
        """The agent does some more of everything."""
        self.progress += 1
        worktree = self.here.worktree
        (worktree / "README").write_text(f"changed {self.progress}\n")
        (worktree / "new" / "deeper").mkdir(parents=True, exist_ok=True)
        (worktree / "new" / "deeper" / "file").write_text(f"new {self.progress}\n")
        (worktree / "staged").write_text(f"staged {self.progress}\n")
        git(worktree, "add", "staged")
        (worktree / "staged").write_text(f"and changed again {self.progress}\n")

    def checkpoint_killed_before(self, call: int) -> tuple[bool, str]:
        """Run a checkpoint up to a call; whether it was killed, and what the stepper said."""
        arguments = [self.here.repository_url, self.here.token_file, str(self.here.workspace)]
        command = [sys.executable, stepper.__file__, str(call), sys.executable, "-c", TAKE, *arguments]
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        last = done.stdout.splitlines()[-1]
        assert last.startswith(("killed", "ended 0")), f"{last}\n{done.stderr}"
        return last.startswith("killed"), last

    def check_that_nothing_happened(self, before: dict[str, tuple[int, str]], when: str) -> None:
        after = everything_of_the_agents(self.here)
        assert after == before, f"{when}: {[path for path in {**before, **after} if before.get(path) != after.get(path)]}"
        assert not [path for path in after if path.endswith(".lock")]
        git(self.here.worktree, "fsck", "--no-dangling", "--no-progress")
        git(self.here.worktree, "status", GIT_OPTIONAL_LOCKS="0")

    def check_that_the_next_one_keeps_all(self, when: str) -> None:
        assert self.next_checkpoint(), when
        kept = git(self.server.rig.path, "rev-parse", self.here.checkpoint_ref)
        assert git(self.server.rig.path, "rev-parse", f"{kept}^{{tree}}") == tree_of_worktree(self.here), when
        git(self.server.rig.path, "fsck", "--no-dangling", "--no-progress")
        assert not list(self.here.temporary.glob("checkpoint-*")), when

    def next_checkpoint(self) -> str:
        def take() -> str:
            try:
                return Checkpointer(self.here, Git(self.here.worktree)).take().commit
            except GitError as error:
                if error.command != "push":  # the server may still be at that of the one that was killed
                    raise
                return ""

        return eventually(take, 60)

    def forget_locks(self) -> None:
        """As if a lock that a killed git left on the checkpoint's ref were old by now."""
        for lock in (self.here.repository / "refs" / "agents").rglob("*.lock"):
            lock.unlink()


@pytest.fixture
def workplace(tmp_path: Path) -> Iterator[Workplace]:
    with git_server.running(tmp_path / "data") as server:
        (tmp_path / "token").write_text("furiosa\n")
        here = Session(
            namespace="town",
            rig="greeter",
            agent="greeter-furiosa",
            bead="gp-a3f8",
            repository_url=server.url(token=None),
            token_file=str(tmp_path / "token"),
            workspace=tmp_path / "workspace",
            checkout_seconds=30,
        )
        checkout(here)
        git(here.worktree, "commit", "--quiet", "--allow-empty", "-m", "Not pushed")
        (here.worktree / "README").write_text("stashed\n")
        git(here.worktree, "stash", "--quiet")
        (here.worktree / ".gitignore").write_text("*.log\n")
        (here.worktree / "debug.log").write_text("ignored\n")
        yield Workplace(server, here)


def calls_of_a_checkpoint(workplace: Workplace) -> int:
    """Of one that is not the first: that also makes folders for its ref and its objects."""
    for _ in range(2):
        workplace.work()
        was_killed, said = workplace.checkpoint_killed_before(0)
        assert not was_killed
    return int(said.split()[2])


def try_call(workplace: Workplace, call: int) -> bool:
    """Kill before this call; whether the kill came before the checkpoint's end."""
    workplace.work()
    before = everything_of_the_agents(workplace.here)
    was_killed, said = workplace.checkpoint_killed_before(call)
    when = f"before call {call}: {said}"
    workplace.check_that_nothing_happened(before, when)
    workplace.check_that_the_next_one_keeps_all(when)
    workplace.forget_locks()
    return was_killed


def test_a_checkpoint_killed_before_any_of_a_sample_of_its_system_calls_costs_the_agent_nothing(workplace: Workplace) -> None:
    total = calls_of_a_checkpoint(workplace)
    assert total > 50
    killed = [try_call(workplace, call) for call in range(1, total + 1, max(1, total // SAMPLES))]
    assert sum(killed) >= SAMPLES - 2  # the last few may come after the end: git's processes do not run in lockstep


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_checkpoint_killed_between_any_two_system_calls_costs_the_agent_nothing(workplace: Workplace) -> None:
    calls_of_a_checkpoint(workplace)
    call = ended = 0
    while ended < 5:  # in a row: git's processes do not run in lockstep, so the number of calls varies a little
        call += 1
        ended = 0 if try_call(workplace, call) else ended + 1
    assert call > 100


def try_pairs(workplace: Workplace, pairs: list[tuple[int, int]]) -> None:
    for first, second in pairs:
        workplace.work()
        before = everything_of_the_agents(workplace.here)
        for call in (first, second):
            _, said = workplace.checkpoint_killed_before(call)
            workplace.check_that_nothing_happened(before, f"before calls {first} and {second}: {said}")
        workplace.check_that_the_next_one_keeps_all(f"before calls {first} and {second}")
        workplace.forget_locks()


def test_the_next_checkpoint_may_be_killed_too(workplace: Workplace) -> None:
    total = calls_of_a_checkpoint(workplace)
    step = total // PAIRS
    try_pairs(workplace, [(total - call, call) for call in range(step // 2, total, step)])


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_the_next_checkpoint_may_be_killed_too_anywhere(workplace: Workplace) -> None:
    total = calls_of_a_checkpoint(workplace)
    places = range(1, total, total // 12)
    try_pairs(workplace, [(first, second) for first in places for second in places])
