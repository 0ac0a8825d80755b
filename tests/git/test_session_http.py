"""Checkout, checkpoint and push over HTTP with a token from a file: the real repo-server and the real credential helper between them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gastown.polecat.checkout import checkout
from gastown.polecat.checkpoint import Checkpointer
from gastown.polecat.errors import Unreachable
from gastown.polecat.git import Git, GitError
from gastown.polecat.session import Session
from gastown_git.signed_url import tree_url
from support import git_server
from support.session_builder import git


@pytest.fixture
def server(tmp_path: Path) -> Iterator[git_server.Server]:
    with git_server.running(tmp_path / "data") as running:
        yield running


@pytest.fixture
def here(server: git_server.Server, tmp_path: Path) -> Session:
    (tmp_path / "token").write_text("furiosa\n")
    return Session(
        namespace="town",
        rig="greeter",
        agent="greeter-furiosa",
        bead="gp-a3f8",
        repository_url=server.url(token=None),
        token_file=str(tmp_path / "token"),
        workspace=tmp_path / "workspace",
        checkout_seconds=0,
    )


def test_a_session_fetches_and_keeps_its_work_with_the_token_of_its_file(server: git_server.Server, here: Session) -> None:
    assert checkout(here).commit == git(server.rig.path, "rev-parse", "main")
    (here.worktree / "new.txt").write_text("half\n")
    kept = Checkpointer(here, Git(here.worktree)).take()
    assert git(server.rig.path, "rev-parse", here.checkpoint_ref) == kept.commit


def test_a_rotated_token_is_used_at_once_and_none_is_left_in_any_file(server: git_server.Server, here: Session) -> None:
    checkout(here)
    server.authenticator.identities = {"t0ken-after-rotation": git_server.FURIOSA}
    Path(here.token_file).write_text("t0ken-after-rotation\n")
    (here.worktree / "new.txt").write_text("half\n")
    assert Checkpointer(here, Git(here.worktree)).take().commit
    held = [path for path in here.workspace.rglob("*") if path.is_file() and b"t0ken-after-rotation" in path.read_bytes()]
    assert held == []


def test_a_token_that_is_not_yet_known_is_tried_again(server: git_server.Server, here: Session) -> None:
    known = server.authenticator.identities
    server.authenticator.identities = {}

    def sleep(_: float) -> None:
        server.authenticator.identities = known

    checkout(replace(here, checkout_seconds=60), sleep=sleep)
    assert (here.worktree / "README").exists()


def test_a_token_that_is_never_known_is_told_without_showing_it(server: git_server.Server, here: Session) -> None:
    Path(here.token_file).write_text("unknown-secret\n")
    with pytest.raises(Unreachable) as refused:
        checkout(here)
    assert "Authentication failed" in str(refused.value)
    assert "unknown-secret" not in str(refused.value)


def test_another_agents_ref_is_refused_with_the_servers_words(server: git_server.Server, here: Session) -> None:
    checkout(here)
    (here.worktree / "new.txt").write_text("half\n")
    pushing = replace(here, agent="greeter-nux")
    with pytest.raises(GitError, match="git push"):
        Checkpointer(pushing, Git(here.worktree)).take()


def test_work_of_another_agent_is_taken_over_from_its_checkpoint(server: git_server.Server, here: Session, tmp_path: Path) -> None:
    checkout(here)
    (here.worktree / "new.txt").write_text("half\n")
    kept = Checkpointer(here, Git(here.worktree)).take()
    (tmp_path / "nux").write_text("nux")
    nux = replace(here, agent="greeter-nux", workspace=tmp_path / "second", token_file=str(tmp_path / "nux"), start_commit=kept.commit)
    assert checkout(nux).restored == kept.commit
    assert (nux.worktree / "new.txt").read_text() == "half\n"


def test_after_a_kill_another_agent_finds_the_checkpoint_and_no_third_one_can_slip_in_something_newer(
    server: git_server.Server, here: Session, tmp_path: Path
) -> None:
    identities = server.authenticator.identities
    identities.update(furiosa=replace(git_server.FURIOSA, bead=here.bead), nux=replace(git_server.NUX, bead="gp-other"))
    checkout(here)
    (here.worktree / "new.txt").write_text("half\n")
    kept = Checkpointer(here, Git(here.worktree)).take()  # and killed: nobody is told
    (tmp_path / "nux").write_text("nux")
    nux = replace(here, agent="greeter-nux", workspace=tmp_path / "second", token_file=str(tmp_path / "nux"))
    elsewhere = replace(nux, bead="gp-other", workspace=tmp_path / "elsewhere")
    checkout(elsewhere)
    evil = git(elsewhere.worktree, "commit-tree", "HEAD^{tree}", "-p", "HEAD", "-m", "x", GIT_COMMITTER_DATE="@4000000000 +0000")
    for ref in (nux.checkpoint_ref, f"refs/heads/{nux.branch}"):
        with pytest.raises(GitError, match="this session works on gp-other"):
            Git(elsewhere.worktree).run("push", "origin", f"{evil}:{ref}")
    identities["nux"] = replace(git_server.NUX, bead=here.bead)
    assert checkout(nux).restored == kept.commit
    assert (nux.worktree / "new.txt").read_text() == "half\n"


def test_the_init_step_of_a_gate_brings_exactly_the_signed_tree_also_after_a_first_try_was_killed(
    server: git_server.Server, tmp_path: Path
) -> None:
    tree = git(server.rig.path, "rev-parse", "main^{tree}")
    url = tree_url(f"http://127.0.0.1:{server.port}", git_server.TREE_KEY, "town", "greeter", tree, int(git_server.NOW) + 60)
    workspace = tmp_path / "gate"
    (workspace / "source").mkdir(parents=True)
    (workspace / "source" / "half").write_text("of a killed try")
    variables = {"GASTOWN_SOURCE_URL": url, "GASTOWN_TREE": tree, "GASTOWN_WORKSPACE": str(workspace), "PATH": os.environ["PATH"]}
    log = tmp_path / "termination-log"
    command = [sys.executable, "-m", "gastown.polecat.main", "gate-source"]
    done = subprocess.run(command, env={**variables, "GASTOWN_TERMINATION_LOG": str(log)}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (workspace / "source").iterdir()] == ["README"]
    assert (workspace / "home").is_dir()
    wrong = {**variables, "GASTOWN_TREE": "1" * 40, "GASTOWN_TERMINATION_LOG": str(log)}
    done = subprocess.run(command, env=wrong, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert log.read_text().startswith("gate-source: ")
