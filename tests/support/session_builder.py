"""Builds what a session stands on: a served repository (by path), a workspace, and the files agents leave behind."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import stat
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gastown.polecat.session import Session

BEAD = "gp-a3f8"
AGENT = "greeter-furiosa"
_IDENTITY = {
    "GIT_AUTHOR_NAME": "test",
    "GIT_AUTHOR_EMAIL": "test@test.invalid",
    "GIT_COMMITTER_NAME": "test",
    "GIT_COMMITTER_EMAIL": "test@test.invalid",
}


def git(folder: Path, *arguments: str, given: bytes = b"", **variables: str) -> str:
    """Run git as an agent would, with its own index and environment; the output without its line end."""
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(folder), "LC_ALL": "C.UTF-8", **_IDENTITY, **variables}
    done = subprocess.run(["git", *arguments], cwd=folder, env=environment, input=given, capture_output=True, timeout=60)
    assert done.returncode == 0, f"git {' '.join(arguments)}: {done.stderr.decode(errors='replace')}"
    return done.stdout.decode("utf-8", "surrogateescape").rstrip("\n")


@dataclass(frozen=True)
class Served:
    """A rig's repository as the repo-server holds it."""

    path: Path

    @property
    def url(self) -> str:
        return f"file://{self.path}"

    def tip(self, ref: str) -> str:
        """The commit a ref points at; "" if there is none."""
        return git(self.path, "for-each-ref", "--format=%(objectname)", ref)

    def commit_on(self, ref: str, files: dict[str, str], *, date: str = "", message: str = "Change") -> str:
        """A commit on top of a ref (or without parent), as some other agent or the refinery would leave it."""
        parent = self.tip(ref)
        index = str(self.path / "test-index")
        Path(index).unlink(missing_ok=True)
        if parent:
            git(self.path, "read-tree", parent, GIT_INDEX_FILE=index)
        for name, content in files.items():
            blob = git(self.path, "hash-object", "-w", "--stdin", given=content.encode())
            git(self.path, "update-index", "--add", "--cacheinfo", f"100644,{blob},{name}", GIT_INDEX_FILE=index)
        tree = git(self.path, "write-tree", GIT_INDEX_FILE=index)
        when = date or "@1700000500 +0000"
        arguments = ("commit-tree", tree, *(["-p", parent] if parent else []), "-m", message)
        commit = git(self.path, *arguments, GIT_AUTHOR_DATE=when, GIT_COMMITTER_DATE=when)
        git(self.path, "update-ref", ref, commit)
        return commit


def serve(folder: Path) -> Served:
    """A bare repository with one commit on main."""
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet", "--bare", "--initial-branch=main", ".")
    git(folder, "config", "uploadpack.allowAnySHA1InWant", "true")
    served = Served(folder)
    served.commit_on(
        "refs/heads/main", {"README": "hello\n", "greet.py": "GREETING = 'hello'\n", "old.txt": "old\n"}, date="@1700000000 +0000"
    )
    return served


def session(served: Served, workspace: Path, **changes: Any) -> Session:
    """A session of furiosa on gp-a3f8."""
    plain = Session(
        namespace="town",
        rig="greeter",
        agent=AGENT,
        bead=BEAD,
        number=1,
        pod_uid="5b0c7a34",
        repository_url=served.url,
        workspace=workspace,
        checkout_seconds=0,
    )
    return replace(plain, **changes)


def git_that_kills_its_caller(folder: Path) -> Path:
    """A folder for the front of PATH whose git kills the process that called it, instead of call number $KILL_AT."""
    folder.mkdir()
    real = shutil.which("git")
    program = folder / "git"
    program.write_text(
        f"""#!/bin/sh
count=$(($(cat {folder}/count 2>/dev/null || echo 0) + 1))
echo $count > {folder}/count
if [ "$count" = "$KILL_AT" ]; then kill -9 $PPID; exit 1; fi
exec {real} "$@"
"""
    )
    program.chmod(0o755)
    return folder


def run_killed_at(call: int, script: str, arguments: list[str], tools: Path) -> bool:
    """Run a Python script with `git_that_kills_its_caller`; whether it came to its end (fewer git calls than that)."""
    (tools / "count").unlink(missing_ok=True)
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "KILL_AT": str(call), "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", script, *arguments], env=environment, capture_output=True, timeout=60)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()
    return done.returncode == 0


def fingerprint(worktree: Path) -> dict[str, str]:
    """Everything of an agent's that nobody else may touch: index, HEAD, stash and branch, byte for byte."""
    files = {}
    for name in ("index", "HEAD", "refs/stash", "logs/refs/stash", "MERGE_HEAD"):
        path = Path(git(worktree, "rev-parse", "--path-format=absolute", "--git-path", name))
        files[name] = hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""
    files["branch"] = git(worktree, "rev-parse", "HEAD")
    return files


def everything_of_the_agents(here: Session) -> dict[str, tuple[int, str]]:
    """Mode and content of every file that lies in the worktree or in the repository, by path, but git objects and checkpoint refs.

    Objects are content by name, so new ones change nothing; the refs are the harness's own.
    """
    return {**_files_below(here.worktree), **_files_below(here.repository, without=("objects", "refs/agents"))}


def _files_below(top: Path, without: tuple[str, ...] = ()) -> dict[str, tuple[int, str]]:
    found: dict[str, tuple[int, str]] = {}
    excluded = {top / name for name in without}
    for folder, folders, files in os.walk(top):
        here = Path(folder)
        folders[:] = [name for name in folders if here / name not in excluded]
        for path in (here / name for name in [*folders, *files]):
            state = path.lstat()
            content = ""
            if stat.S_ISLNK(state.st_mode):
                content = str(path.readlink())
            elif stat.S_ISREG(state.st_mode):
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            found[str(path)] = (state.st_mode, content)
    return found


def tree_of_worktree(here: Session) -> str:
    """What a checkpoint's tree should be, found another way: all that is not ignored, added to an index of our own."""
    index = here.workspace / "expected-index"
    index.unlink(missing_ok=True)
    git(here.worktree, "add", "--all", GIT_INDEX_FILE=str(index))
    return git(here.worktree, "write-tree", GIT_INDEX_FILE=str(index))
