"""Checkpoints where something is in the way: no room, no rights, locks, a neighbour, a server that is slow, away or says no."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gastown.polecat.checkout import checkout
from gastown.polecat.checkpoint import Checkpointer
from gastown.polecat.git import Git, GitError
from gastown.polecat.session import Session
from support.session_builder import AGENT, BEAD, Served, everything_of_the_agents, git, serve, session, tree_of_worktree
from support.session_pod import can_unshare

REF = f"refs/agents/{AGENT}/wip/{BEAD}"
# Root reads and writes what it likes, unless it gives up just that.
AS_ORDINARY_USER = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps", "-all"] if os.geteuid() == 0 else []
PRELUDE = """
import json, os, sys
from pathlib import Path
from gastown.polecat.checkout import checkout
from gastown.polecat.checkpoint import Checkpointer
from gastown.polecat.git import Git, GitError
from support.session_builder import Served, everything_of_the_agents, session
here = session(Served(Path(sys.argv[1])), Path(sys.argv[2]))
def take():
    before = everything_of_the_agents(here)
    try:
        kept = Checkpointer(here, Git(here.worktree)).take()
        told = {"commit": kept.commit, "left_out": kept.left_out}
    except (GitError, OSError) as error:
        told = {"error": str(error)}
    return told | {"untouched": everything_of_the_agents(here) == before}
"""


@pytest.fixture
def served(tmp_path: Path) -> Served:
    return serve(tmp_path / "served.git")


@pytest.fixture
def here(served: Served, tmp_path: Path) -> Session:
    prepared = session(served, tmp_path / "workspace")
    checkout(prepared)
    (prepared.worktree / "half").write_text("half\n")
    return prepared


def checkpointer(here: Session, **changes: float) -> Checkpointer:
    return Checkpointer(here, Git(here.worktree), **changes)  # type: ignore[arg-type]


def is_kept(served: Served, here: Session) -> bool:
    return git(served.path, "rev-parse", f"{REF}^{{tree}}") == tree_of_worktree(here)


def run_script(wrapper: list[str], script: str, served: Served, workspace: Path) -> list[dict[str, object]]:
    command = [*wrapper, sys.executable, "-c", PRELUDE + script, str(served.path), str(workspace)]
    python_path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": python_path}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.skipif(not can_unshare(), reason="a small disk needs a mount, and this machine forbids user namespaces")
def test_a_full_disk_is_told_as_such_and_the_next_checkpoint_after_there_is_room_keeps_all(served: Served, tmp_path: Path) -> None:
    workspace = tmp_path / "small"
    workspace.mkdir()
    script = """
checkout(here)
filler = here.workspace / "filler"
(here.worktree / "half").write_bytes(os.urandom(700_000))
with filler.open("wb", buffering=0) as file:
    try:
        while True: file.write(b"x" * 4096)
    except OSError: pass
os.truncate(filler, max(0, filler.stat().st_size - 300_000))
print(json.dumps(take()))
filler.unlink()
print(json.dumps(take()))
"""
    mounted = f'mount -t tmpfs -o size=4m tmpfs {workspace} && exec "$@"'
    wrapper = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mounted, "sh"]
    full, room = run_script(wrapper, script, served, workspace)
    assert "No space left on device" in str(full["error"])
    assert full["untouched"]
    assert room["commit"] == served.tip(REF) != ""


@pytest.mark.skipif(bool(AS_ORDINARY_USER) and not shutil.which("setpriv"), reason="root without setpriv can not give up its rights")
def test_what_may_not_be_read_is_named_and_the_rest_kept(served: Served, tmp_path: Path) -> None:
    script = """
checkout(here)
(here.worktree / "half").write_text("half")
(here.worktree / "closed").write_text("secret")
(here.worktree / "closed").chmod(0)
(here.worktree / "folder").mkdir()
(here.worktree / "folder" / "file").write_text("x")
(here.worktree / "folder").chmod(0)
(here.worktree / "greet.py").chmod(0)
(here.worktree / "tracked").mkdir()
(here.worktree / "tracked" / "file").write_text("x")
Git(here.worktree).run("add", "tracked")
Git(here.worktree).run("commit", "--quiet", "-m", "x", "--", "tracked")
(here.worktree / "tracked").chmod(0)
kept = Checkpointer(here, Git(here.worktree)).take()
print(json.dumps({"left_out": sorted(kept.left_out)}))
for name in ("folder", "tracked"): (here.worktree / name).chmod(0o755)
"""
    (told,) = run_script(AS_ORDINARY_USER, script, served, tmp_path / "workspace")
    assert told["left_out"] == ["closed", "folder/", "greet.py", "tracked/", "tracked/file"]
    names = git(served.path, "ls-tree", "-r", "--name-only", REF).splitlines()
    assert names == ["README", "greet.py", "half", "old.txt", "tracked/file"]  # what was committed stays as it was


@pytest.mark.skipif(bool(AS_ORDINARY_USER) and not shutil.which("setpriv"), reason="root without setpriv can not give up its rights")
def test_an_object_folder_without_the_right_to_write_is_told_and_the_agent_left_alone(served: Served, tmp_path: Path) -> None:
    script = """
checkout(here)
(here.worktree / "half").write_text("half")
objects = here.repository / "objects"
objects.chmod(0o555)
for folder in objects.iterdir(): folder.chmod(0o555)
print(json.dumps(take()))
objects.chmod(0o755)
for folder in objects.iterdir(): folder.chmod(0o755)
print(json.dumps(take()))
"""
    refused, kept = run_script(AS_ORDINARY_USER, script, served, tmp_path / "workspace")
    assert "insufficient permission for adding an object" in str(refused["error"])
    assert refused["untouched"]
    assert kept["commit"] == served.tip(REF) != ""


def test_locks_that_the_agent_holds_stop_no_checkpoint_and_are_left_alone(served: Served, here: Session) -> None:
    locks = [
        Path(git(here.worktree, "rev-parse", "--path-format=absolute", "--git-path", f"{name}.lock"))
        for name in ("index", "HEAD", "packed-refs", f"refs/heads/{here.branch}", "config")
    ]
    for lock in locks:
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.write_text("held")
    checkpointer(here).take()
    assert is_kept(served, here)
    assert [lock.read_text() for lock in locks] == ["held"] * 5


def test_a_lock_that_a_killed_git_left_on_the_checkpoints_own_ref_is_passed_by_and_later_removed(served: Served, here: Session) -> None:
    lock = here.repository / f"{REF}.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    first = checkpointer(here).take().commit
    assert is_kept(served, here)
    assert lock.exists()
    (here.worktree / "half").write_text("more\n")
    os.utime(lock, (time.time() - 60, time.time() - 60))
    second = checkpointer(here).take().commit
    assert not lock.exists()
    assert git(here.repository, "rev-parse", REF) == second == served.tip(REF) != first


def test_folders_that_killed_checkpoints_left_are_removed_and_those_of_running_ones_are_not(here: Session) -> None:
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    left = here.temporary / f"checkpoint-{ended.pid}-x"
    used = here.temporary / f"checkpoint-{os.getpid()}-x"
    for folder in (left, used):
        folder.mkdir()
    checkpointer(here).take()
    assert not left.exists()
    assert used.exists()


def test_checkpoints_at_the_same_time_do_not_harm_each_other(served: Served, here: Session) -> None:
    before = everything_of_the_agents(here)
    failures: list[GitError] = []

    def take() -> None:
        try:
            checkpointer(here).take()
        except GitError as error:
            failures.append(error)

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(failures) < 4
    assert {error.command for error in failures} <= {"push"}  # the server takes one at a time
    assert everything_of_the_agents(here) == before
    assert is_kept(served, here)


def test_the_agents_garbage_collection_and_checkpoints_go_on_side_by_side(served: Served, here: Session) -> None:
    stop = threading.Event()

    def collect() -> None:
        while not stop.is_set():
            git(here.worktree, "gc", "--quiet", "--prune=now")

    collector = threading.Thread(target=collect)
    collector.start()
    try:
        for number in range(4):
            (here.worktree / "half").write_text(f"half {number}\n")
            try:
                checkpointer(here).take()
            except GitError:
                continue  # an object was collected before anything pointed at it: the next one writes it again
    finally:
        stop.set()
        collector.join()
    checkpointer(here).take()
    assert is_kept(served, here)
    git(served.path, "fsck", "--no-dangling")
    git(here.worktree, "fsck", "--no-dangling")


def test_what_could_not_be_pushed_outlives_the_agents_garbage_collection_and_is_pushed_at_the_next_chance(
    served: Served, here: Session
) -> None:
    keeper = checkpointer(here)
    served.path.rename(served.path.with_name("away"))
    with pytest.raises(GitError, match="git push"):
        keeper.take()
    made = git(here.repository, "rev-parse", REF)
    git(here.worktree, "gc", "--quiet", "--prune=now")
    served.path.with_name("away").rename(served.path)
    assert keeper.take().commit == made == served.tip(REF)


def test_a_push_the_server_refuses_is_told_in_its_words_and_tried_again(served: Served, here: Session) -> None:
    hook = served.path / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho not today >&2\nexit 1\n")
    hook.chmod(0o755)
    keeper = checkpointer(here)
    before = everything_of_the_agents(here)
    with pytest.raises(GitError, match="not today"):
        keeper.take()
    assert everything_of_the_agents(here) == before
    hook.unlink()
    assert keeper.take().commit == served.tip(REF) != ""


@pytest.fixture
def deaf_server() -> Iterator[str]:
    """The address of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/town/greeter.git"


def test_a_server_that_never_answers_costs_the_time_given_for_it_and_the_checkpoint_stays_here(here: Session, deaf_server: str) -> None:
    git(here.repository, "config", "remote.origin.url", deaf_server)
    with pytest.raises(GitError, match="no end after 1 s"):
        checkpointer(here, push_seconds=1).take()
    assert git(here.repository, "rev-parse", f"{REF}^{{tree}}") == tree_of_worktree(here)


def test_a_tree_too_large_for_the_time_given_is_told_and_the_agent_left_alone(here: Session) -> None:
    before = everything_of_the_agents(here)
    with pytest.raises(GitError, match="no end after"):
        checkpointer(here, local_seconds=0).take()
    assert everything_of_the_agents(here) == before
