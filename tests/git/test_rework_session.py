"""A session on work that came back: it starts at the head that was turned away, and the new main is there to be merged."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from gastown.api.bead import Rework
from gastown.api.codec import to_dict
from gastown.polecat.checkout import checkout
from gastown.polecat.session import Session
from support.example_convoy import EXAMPLE
from support.session_builder import AGENT, BEAD, Served, git, serve, session

FIRST_AGENT = "greeter-max"
LATER = "@1700001000 +0000"


@pytest.fixture
def served(tmp_path: Path) -> Served:
    return serve(tmp_path / "served.git")


def hand_in(served: Served, files: dict[str, str]) -> str:
    """Work of another agent on the present main, pushed to its branch; its head."""
    branch = f"refs/heads/polecat/{FIRST_AGENT}/{BEAD}"
    git(served.path, "update-ref", branch, served.tip("refs/heads/main"))
    return served.commit_on(branch, files, date=LATER)


def come_back(served: Served, folder: Path, head: str) -> Session:
    """The session that the operator starts next, of another agent."""
    here = session(served, folder / "workspace", start_commit=head)
    assert checkout(here).commit == head
    return here


def merged(worktree: Path, ref: str) -> subprocess.CompletedProcess[str]:
    command = ["git", "-c", "user.name=nux", "-c", "user.email=nux@test.invalid", "merge", "--no-edit", ref]
    return subprocess.run(command, cwd=worktree, capture_output=True, text=True, timeout=60)


def test_the_work_is_there_as_it_was_handed_in_and_main_as_it_is_now(served: Served, tmp_path: Path) -> None:
    head = hand_in(served, {"greet.py": "GREETING = 'bonjour'\n"})
    main = served.commit_on("refs/heads/main", {"greet.py": "GREETING = 'hallo'\n"})
    here = come_back(served, tmp_path, head)
    assert (here.worktree / "greet.py").read_text() == "GREETING = 'bonjour'\n"
    assert git(here.worktree, "rev-parse", "origin/main") == main
    assert git(here.worktree, "symbolic-ref", "--short", "HEAD") == f"polecat/{AGENT}/{BEAD}"
    assert merged(here.worktree, "origin/main").returncode == 1
    assert git(here.worktree, "diff", "--name-only", "--diff-filter=U") == "greet.py"
    (here.worktree / "greet.py").write_text("GREETING = 'hallo, bonjour'\n")
    git(here.worktree, "commit", "--quiet", "-am", "Greet in both")
    assert git(here.worktree, "rev-parse", "HEAD^1", "HEAD^2").splitlines() == [head, main]


def test_a_main_that_moves_on_once_more_is_fetched_by_the_same_command(served: Served, tmp_path: Path) -> None:
    here = come_back(served, tmp_path, hand_in(served, {"greet.py": "GREETING = 'bonjour'\n"}))
    main = served.commit_on("refs/heads/main", {"README": "newer\n"})
    git(here.worktree, "fetch", "--quiet", "origin")
    assert merged(here.worktree, "origin/main").returncode == 0
    assert git(here.worktree, "rev-parse", "HEAD^2") == main


@pytest.mark.parametrize(
    "mains",
    [
        pytest.param({"greet.py": "GREETING = 'hello', 'hi'\n"}, id="a line it changed was changed"),
        pytest.param({"more.py": "MORE = 'hello'\n"}, id="what it changes came to another place"),
        pytest.param({"README": "newer\n"}, id="nothing of it was touched"),
    ],
)
def test_the_agent_of_the_example_does_its_work_again_on_the_new_main(served: Served, tmp_path: Path, mains: dict[str, str]) -> None:
    head = hand_in(served, {"greet.py": "GREETING = 'salut'\n"})
    main = served.commit_on("refs/heads/main", mains)
    here = come_back(served, tmp_path, head)
    (profile,) = [each for each in yaml.safe_load_all((EXAMPLE / "rig.yaml").read_text()) if each["kind"] == "AgentProfile"]
    spec = {"title": "Salute", "description": "```replace *.py\nhello\nsalut\n```\n"}
    came_back = Rework(reason="Conflicted", head=head, message="merge main")
    bead = {"metadata": {"name": BEAD}, "spec": spec, "status": {"lastRework": to_dict(came_back)}}
    (tmp_path / "bead.json").write_text(json.dumps(bead))
    people = {f"GIT_{role}_{what}": "nux@test.invalid" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = os.environ | people | {"GASTOWN_BEAD_FILE": str(tmp_path / "bead.json"), "GASTOWN_TARGET_BRANCH": "main"}
    for _ in range(2):  # a second time, as if the first session had been killed before it could hand in
        subprocess.run(profile["spec"]["command"], cwd=here.worktree, env=environment, check=True, timeout=60)
    contained = git(here.worktree, "rev-list", "HEAD").splitlines()
    assert {head, main} <= set(contained)
    assert git(here.worktree, "status", "--porcelain") == ""
    for name, content in ({"greet.py": "GREETING = 'salut'\n"} | mains).items():
        assert (here.worktree / name).read_text() == content.replace("hello", "salut")
