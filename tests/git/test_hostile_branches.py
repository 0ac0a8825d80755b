"""Branches that move under a queued request, and trees that would look different to whoever judges them. A real git pushes to a real
repo-server; the gate gets its source from it and runs."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gastown.api import conditions, reasons
from gastown.api.gate_run import GateRun
from gastown.polecat.checkout import checkout
from gastown.polecat.errors import Refused, Unreachable
from gastown.polecat.tree_source import fetch_tree
from gastown_git.signed_url import tree_url
from support import git_builder as build
from support.git_server import NOW, TREE_KEY, Client, Server
from support.queue_town import QueueTown
from support.session_builder import Served, git, serve, session

BEAD = "gr-1"
BRANCH = f"refs/heads/polecat/greeter-furiosa/{BEAD}"


@pytest.fixture
def town(server: Server) -> QueueTown:
    return QueueTown(server.rig)


def push(client: Client, *refspecs: str, force: bool = False) -> None:
    client.run("push", "--quiet", *(["--force"] if force else []), "origin", *refspecs)


def submitted(town: QueueTown, client: Client, content: str = "good\n") -> tuple[str, str]:
    """A commit pushed to the agent's branch and handed in; name of the request, and the head."""
    head = client.commit("work", content)
    push(client, f"HEAD:{BRANCH}")
    return town.submit(BEAD, head, push=False), head


def pinned(town: QueueTown, name: str) -> tuple[str, str]:
    found = conditions.find_condition(town.requests[name].status.conditions, conditions.HEAD_PINNED)
    assert found is not None
    return found.status, found.reason


def rewritten(client: Client) -> str:
    """Other work on main, which replaces the branch."""
    client.run("reset", "--quiet", "--hard", "origin/main")
    other = client.commit("work", "evil\n")
    push(client, f"HEAD:{BRANCH}", force=True)
    return other


MOVES: dict[str, Callable[[Client], object]] = {
    "rewritten": rewritten,
    "deleted": lambda client: push(client, f":{BRANCH}"),
    "gone on": lambda client: push(client, f"{client.commit('more', 'later')}:{BRANCH}"),
}


# The submitted head, or nothing


@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)
@pytest.mark.parametrize("moment", ["verifying", "gating", "judged"])
def test_a_branch_that_moves_after_the_head_was_taken_in_changes_nothing(
    town: QueueTown, client: Client, moment: str, move: Callable[[Client], object]
) -> None:
    name, head = submitted(town, client)
    town.look()
    if moment != "verifying":
        town.verify(name)
        town.look()
    if moment == "judged":
        (run,) = town.running()
        town.finish(run, reasons.PASSED)
    move(client)
    town.settle()
    main = build.main_of(town.repository)
    assert town.phase(name) == "Landed"
    assert town.repository.is_ancestor(head, main)
    assert build.read_files(town.repository, town.repository.tree_of(main))["work"][1] == b"good\n"
    assert "more" not in build.read_files(town.repository, town.repository.tree_of(main))


@pytest.mark.parametrize("move", [MOVES["rewritten"], MOVES["deleted"]], ids=["rewritten", "deleted"])
def test_a_branch_that_left_its_submitted_head_lands_nothing_until_it_is_back(
    town: QueueTown, client: Client, move: Callable[[Client], object]
) -> None:
    before = build.main_of(town.repository)
    name, head = submitted(town, client)
    move(client)
    town.settle()
    assert pinned(town, name)[0] == "False"
    assert pinned(town, name)[1] in (reasons.HEAD_NOT_ON_BRANCH, reasons.HEAD_NOT_FOUND)
    assert build.main_of(town.repository) == before
    assert town.repository.refs.find(f"refs/keep/{head}") == head, "the work itself is not lost"
    client.run("reset", "--quiet", "--hard", head)
    push(client, f"HEAD:{BRANCH}", force=True)
    town.settle()
    assert town.phase(name) == "Landed"


def test_a_rewritten_branch_that_is_handed_in_anew_replaces_the_older_request(town: QueueTown, client: Client) -> None:
    name, head = submitted(town, client)
    town.look()
    newer = town.submit(BEAD, rewritten(client), push=False)
    town.settle()
    assert (town.phase(name), town.phase(newer)) == ("Superseded", "Landed")
    assert not town.repository.is_ancestor(head, build.main_of(town.repository))


# What the gate sees

TEST = "import unittest\n\n\nclass T(unittest.TestCase):\n    def test_it(self):\n        self.fail('seen')\n"
ATTRIBUTES = {
    "export-ignore": "tests export-ignore\ntests/** export-ignore\n*.py export-ignore\n",
    "export-subst": "* export-subst ident\n",
    "a filter": "* filter=evil diff=evil merge=evil\n",
    "another encoding": "*.py text working-tree-encoding=UTF-16\n",
    "other line ends": "* text=auto eol=crlf\n",
    "a macro": "[attr]hidden export-ignore -text\ntests hidden\n*.py hidden\n",
}


@pytest.mark.parametrize("attributes", ATTRIBUTES.values(), ids=ATTRIBUTES)
def test_a_commit_can_not_hide_its_tests_from_the_gate_by_attributes(
    server: Server, town: QueueTown, client: Client, tmp_path: Path, attributes: str
) -> None:
    # Stored as a hostile tool does it, whatever the attributes would make of the files on their way in.
    for path, content in (("tests/__init__.py", "# $Format:%H$ $Id$\n"), ("tests/test_it.py", TEST), (".gitattributes", attributes)):
        (client.folder / "content").write_text(content)
        blob = client.run("hash-object", "-w", "--no-filters", "content").output
        client.run("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}")
    client.run("commit", "--quiet", "-m", "Add a test that fails")
    push(client, f"HEAD:{BRANCH}")
    name = town.submit(BEAD, client.run("rev-parse", "HEAD").output, push=False)
    seen: list[str] = []

    def gate(run: GateRun) -> str:
        source = tmp_path / f"source-{len(seen)}"
        url = tree_url(f"http://127.0.0.1:{server.port}", TREE_KEY, "town", "greeter", run.spec.tree, int(NOW + 60))
        fetch_tree(url, run.spec.tree, source, 30)
        done = subprocess.run([sys.executable, "-m", "unittest"], cwd=source, capture_output=True, text=True, timeout=60)
        seen.append((source / "tests" / "__init__.py").read_text() if (source / "tests").exists() else "main")
        assert "seen" in done.stderr or not run.spec.members
        return reasons.FAILED if "FAILED" in done.stderr else reasons.PASSED

    town.settle(gate)
    assert town.phase(name) == "Rejected"
    assert seen[:2] == ["# $Format:%H$ $Id$\n"] * 2


# What a session checks out


def test_a_hostile_tree_writes_and_runs_nothing_when_a_session_checks_it_out(tmp_path: Path) -> None:
    served, mark = serve(tmp_path / "served.git"), tmp_path / "owned"
    plant(served, mark)
    here = session(served, tmp_path / "workspace")
    before = {path for path in tmp_path.iterdir() if path.name != "workspace"}
    checkout(here)
    assert {path for path in tmp_path.iterdir() if path.name != "workspace"} == before
    assert not mark.exists()
    assert (here.worktree / "way-out").is_symlink()
    assert list((here.worktree / "vendored").iterdir()) == []
    home = str(here.home)
    settings = git(here.worktree, "config", "--list", "--show-origin", HOME=home)
    assert "evil" not in settings
    assert str(mark) not in settings
    for command in (["status", "--porcelain"], ["diff", "HEAD"], ["log", "--stat"], ["submodule", "update", "--init"]):
        with contextlib.suppress(AssertionError):  # that git refuses is as good
            git(here.worktree, *command, HOME=home)
    assert not mark.exists()


def plant(served: Served, mark: Path) -> None:
    """A main with links that lead out, hooks and settings in the tree, attributes that name programs, and a submodule that runs one."""
    run = f"#!/bin/sh\ntouch {mark}\n"
    files = {
        ".gitattributes": "* filter=evil diff=evil merge=evil textconv=evil\n",
        ".gitmodules": f'[submodule "vendored"]\n\tpath = vendored\n\turl = ext::sh -c touch% {mark}\n',
        ".gitconfig": f'[filter "evil"]\n\tsmudge = touch {mark}\n[core]\n\thooksPath = hooks\n\tfsmonitor = touch {mark}\n',
        "config": f"[core]\n\tfsmonitor = touch {mark}\n",
        "hooks/post-checkout": run,
        "hooks/reference-transaction": run,
        "HEAD": "ref: refs/heads/main\n",
    }
    index = str(served.path / "index-of-test")
    git(served.path, "read-tree", "refs/heads/main", GIT_INDEX_FILE=index)
    for name, content in files.items():
        blob = git(served.path, "hash-object", "-w", "--stdin", given=content.encode())
        git(served.path, "update-index", "--add", "--cacheinfo", f"100755,{blob},{name}", GIT_INDEX_FILE=index)
    for name, target in (("way-out", "../../../owned"), ("absolute", str(mark)), ("folder-out", "../..")):
        blob = git(served.path, "hash-object", "-w", "--stdin", given=target.encode())
        git(served.path, "update-index", "--add", "--cacheinfo", f"120000,{blob},{name}", GIT_INDEX_FILE=index)
    main = served.tip("refs/heads/main")
    git(served.path, "update-index", "--add", "--cacheinfo", f"160000,{main},vendored", GIT_INDEX_FILE=index)
    tree = git(served.path, "write-tree", GIT_INDEX_FILE=index)
    git(served.path, "update-ref", "refs/heads/main", git(served.path, "commit-tree", tree, "-p", main, "-m", "Plant"))


@pytest.mark.parametrize("start", ["--upload-pack=touch owned", "refs/heads/main:refs/heads/x", "-", "@{u}", "HEAD^{/x}", "a" * 40, "\n"])
def test_a_start_commit_that_is_none_starts_no_program(tmp_path: Path, start: str) -> None:
    here = session(serve(tmp_path / "served.git"), tmp_path / "workspace", start_commit=start)
    with contextlib.suppress(Refused, Unreachable):
        checkout(here)
    assert not [path for path in tmp_path.rglob("owned") if "served" not in path.name]
