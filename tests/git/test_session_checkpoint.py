"""Keeping uncommitted work: complete, and without the agent noticing."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from gastown.polecat.checkout import checkout
from gastown.polecat.checkpoint import Checkpointer, find_record
from gastown.polecat.git import Git, GitError
from gastown.polecat.session import Session
from support.session_builder import (
    AGENT,
    BEAD,
    Served,
    fingerprint,
    git,
    git_that_kills_its_caller,
    run_killed_at,
    serve,
    session,
)

REF = f"refs/agents/{AGENT}/wip/{BEAD}"


@pytest.fixture
def served(tmp_path: Path) -> Served:
    return serve(tmp_path / "served.git")


@pytest.fixture
def here(served: Served, tmp_path: Path) -> Session:
    prepared = session(served, tmp_path / "workspace")
    checkout(prepared)
    return prepared


def checkpointer(here: Session, file_limit_bytes: int = 1000) -> Checkpointer:
    return Checkpointer(here, Git(here.worktree), file_limit_bytes=file_limit_bytes)


def make_every_kind_of_change(worktree: Path) -> None:
    """Staged, unstaged, deleted, new, renamed, ignored, executable, link, a file replaced by a folder, a name from hell."""
    (worktree / "greet.py").write_text("staged\n")
    git(worktree, "add", "greet.py")
    (worktree / "greet.py").write_text("staged, then changed again\n")
    (worktree / "old.txt").unlink()
    (worktree / "README").unlink()
    (worktree / "README").mkdir()
    (worktree / "README" / "inside").write_text("a folder now\n")
    (worktree / "run.sh").write_text("#!/bin/sh\n")
    (worktree / "run.sh").chmod(0o755)
    (worktree / "link").symlink_to("greet.py")
    (worktree / "name with\nnewline \x1b[31m `$(touch x)`").write_text("odd\n")
    (Path(os.fsdecode(os.fsencode(worktree) + b"/\xff\xfe"))).write_text("no UTF-8\n")
    (worktree / ".gitignore").write_text("*.log\n")
    (worktree / "debug.log").write_text("ignored\n")


def test_everything_but_ignored_files_is_kept(served: Served, here: Session) -> None:
    make_every_kind_of_change(here.worktree)
    kept = checkpointer(here).take()
    assert served.tip(REF) == kept.commit
    names = git(served.path, "ls-tree", "-r", "-z", "--name-only", kept.commit).split("\0")
    assert set(names) - {""} == {
        "greet.py", "README/inside", "run.sh", "link", "name with\nnewline \x1b[31m `$(touch x)`", "\udcff\udcfe", ".gitignore",
    }  # fmt: skip
    assert git(served.path, "show", f"{kept.commit}:greet.py") == "staged, then changed again"
    assert git(served.path, "ls-tree", kept.commit, "run.sh", "link").split()[0::4] == ["120000", "100755"]


def test_the_agent_notices_nothing(here: Session) -> None:
    git(here.worktree, "commit", "--quiet", "--allow-empty", "-m", "First")
    (here.worktree / "greet.py").write_text("stashed\n")
    git(here.worktree, "stash", "--quiet")
    make_every_kind_of_change(here.worktree)
    before, status = fingerprint(here.worktree), git(here.worktree, "status", "--porcelain")
    before = fingerprint(here.worktree)  # `git status` may itself have refreshed the index
    checkpointer(here).take()
    assert fingerprint(here.worktree) == before
    assert git(here.worktree, "status", "--porcelain") == status


def test_a_checkpoint_in_the_middle_of_a_conflict_leaves_the_conflict_as_it_is(here: Session) -> None:
    git(here.worktree, "switch", "--quiet", "-c", "other")
    (here.worktree / "greet.py").write_text("theirs\n")
    git(here.worktree, "commit", "--quiet", "-am", "Theirs")
    git(here.worktree, "switch", "--quiet", here.branch)
    (here.worktree / "greet.py").write_text("ours\n")
    git(here.worktree, "commit", "--quiet", "-am", "Ours")
    with pytest.raises(AssertionError):
        git(here.worktree, "merge", "other")
    before = fingerprint(here.worktree)
    kept = checkpointer(here).take()
    assert fingerprint(here.worktree) == before
    assert "<<<<<<<" in git(here.worktree, "show", f"{kept.commit}:greet.py")


def test_its_only_parent_is_the_head_of_then_so_unpushed_commits_are_kept_too(served: Served, here: Session) -> None:
    git(here.worktree, "commit", "--quiet", "--allow-empty", "-m", "Not pushed")
    (here.worktree / "greet.py").write_text("half\n")
    kept = checkpointer(here).take()
    assert git(served.path, "show", "--no-patch", "--format=%P", kept.commit) == git(here.worktree, "rev-parse", "HEAD")
    assert find_record(Git(here.worktree), kept.commit)
    assert not find_record(Git(here.worktree), git(here.worktree, "rev-parse", "HEAD"))


def test_a_clean_worktree_with_new_commits_is_kept_as_its_head(served: Served, here: Session) -> None:
    git(here.worktree, "commit", "--quiet", "--allow-empty", "-m", "Not pushed")
    kept = checkpointer(here).take()
    assert kept.commit == git(here.worktree, "rev-parse", "HEAD") == served.tip(REF)


def test_nothing_new_is_nothing_to_keep(served: Served, here: Session) -> None:
    assert checkpointer(here).take().commit == ""
    assert served.tip(REF) == ""


def test_the_same_content_is_pushed_once(served: Served, here: Session) -> None:
    (here.worktree / "greet.py").write_text("half\n")
    keeper = checkpointer(here)
    first = keeper.take()
    assert keeper.take() == first
    (here.worktree / "greet.py").write_text("more\n")
    assert keeper.take().commit != first.commit
    assert served.tip(REF) == keeper.pushed


def test_big_files_and_foreign_repositories_are_left_out_and_named(served: Served, here: Session) -> None:
    (here.worktree / "core.dump").write_bytes(b"x" * 1001)
    (here.worktree / "greet.py").write_bytes(b"y" * 1001)
    (here.worktree / "small").write_text("kept\n")
    git(here.worktree, "init", "--quiet", "vendored")
    (here.worktree / "vendored" / "file").write_text("theirs\n")
    kept = checkpointer(here).take()
    assert sorted(kept.left_out) == ["core.dump", "greet.py", "vendored/"]
    assert git(served.path, "show", f"{kept.commit}:greet.py") == "GREETING = 'hello'"
    assert "core.dump" not in git(served.path, "ls-tree", "-r", "--name-only", kept.commit)
    assert 'Gastown-Left-Out: "core.dump"' in git(served.path, "show", "--no-patch", "--format=%B", kept.commit)


def test_a_server_that_is_away_changes_nothing_of_the_agents(served: Served, here: Session) -> None:
    (here.worktree / "greet.py").write_text("half\n")
    before = fingerprint(here.worktree)
    served.path.rename(served.path.with_name("away"))
    with pytest.raises(GitError, match="git push"):
        checkpointer(here).take()
    assert fingerprint(here.worktree) == before
    served.path.with_name("away").rename(served.path)
    assert served.tip(REF) == ""
    assert checkpointer(here).take().commit == served.tip(REF)


def test_an_index_that_is_broken_does_not_stop_the_checkpoint(served: Served, here: Session) -> None:
    index = Path(git(here.worktree, "rev-parse", "--path-format=absolute", "--git-path", "index"))
    (here.worktree / "greet.py").write_text("half\n")
    index.write_bytes(b"half an index")
    kept = checkpointer(here).take()
    assert git(served.path, "show", f"{kept.commit}:greet.py") == "half"
    assert index.read_bytes() == b"half an index"


def test_a_checkpoint_killed_before_any_git_command_leaves_the_agent_alone_and_the_next_one_succeeds(
    served: Served, here: Session, tmp_path: Path
) -> None:
    make_every_kind_of_change(here.worktree)
    script = (
        "import sys, json, pathlib\nfrom support.session_builder import Served, session\n"
        "from gastown.polecat.checkpoint import Checkpointer\nfrom gastown.polecat.git import Git\n"
        "served, workspace = map(pathlib.Path, json.loads(sys.argv[1]))\n"
        "here = session(Served(served), workspace)\nCheckpointer(here, Git(here.worktree)).take()\n"
    )
    tools = git_that_kills_its_caller(tmp_path / "tools")
    before = fingerprint(here.worktree)
    ended = False
    for call in range(1, 40):
        ended = run_killed_at(call, script, [json.dumps([str(served.path), str(here.workspace)])], tools)
        assert fingerprint(here.worktree) == before, f"killed before git command {call}"
        if ended:
            break
    assert ended
    assert git(served.path, "show", f"{served.tip(REF)}:greet.py") == "staged, then changed again"
