"""The git program as a child: deadlines end everything it started, errors tell git's words, nobody's settings leak in."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gastown_git import git_process
from gastown_git.git_process import GitFailed, GitTimedOut, GitTooOld, git_environment, require_git, run_git
from gastown_git.layout import repositories, repository_path
from gastown_git.repository import Repository
from gastown_git.server.counters import Counters
from support.eventually import eventually


@pytest.fixture
def other_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in front of PATH for a program of the name git."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    require_git.cache_clear()
    yield folder
    require_git.cache_clear()


def install(folder: Path, script: str) -> None:
    (folder / "git").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "git").chmod(0o755)


def test_the_git_of_this_machine_is_new_enough() -> None:
    assert require_git() >= git_process.MINIMUM_VERSION


@pytest.mark.parametrize(
    ("words", "fine"), [("git version 2.37.9", False), ("git version 2.38.0", True), ("git version 3.0.rc1", True), ("?", False)]
)
def test_the_version_is_checked_and_a_git_too_old_is_told_what_is_needed(other_git: Path, words: str, fine: bool) -> None:
    install(other_git, f"echo {words!r}")
    if fine:
        require_git()
        return
    with pytest.raises(GitTooOld, match=r"install git 2\.38 or newer"):
        require_git()


def test_a_machine_without_git_is_told_to_install_it(other_git: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(other_git))
    with pytest.raises(GitTooOld, match="no such program on PATH"):
        require_git()


def test_the_deadline_ends_git_and_what_it_started(other_git: Path, tmp_path: Path) -> None:
    install(other_git, f"sleep 300 & echo $! > {tmp_path}/helper; wait")
    started = time.monotonic()
    with pytest.raises(GitTimedOut, match=r"no end after 0\.3 s"):
        run_git(["fetch"], timeout_seconds=0.3)
    assert time.monotonic() - started < 60
    helper = int((tmp_path / "helper").read_text())
    eventually(lambda: not _is_running(helper), describe="helper of git ended")


def test_git_that_does_not_listen_to_sigterm_is_killed(other_git: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_process, "TERMINATION_GRACE_SECONDS", 0.2)
    install(other_git, "trap '' TERM; while :; do sleep 0.1; done")
    with pytest.raises(GitTimedOut):
        run_git(["fetch"], timeout_seconds=0.2)


def test_an_error_tells_command_repository_exit_code_and_gits_words(tmp_path: Path) -> None:
    with pytest.raises(GitFailed, match=rf"git rev-parse in {tmp_path}: exit code 128: .*not a git repository") as caught:
        run_git(["rev-parse", "HEAD"], repository=tmp_path, timeout_seconds=30)
    assert caught.value.exit_code == 128


def test_the_environment_holds_nothing_of_the_callers_but_what_git_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GIT_DIR", "GIT_SSH_COMMAND", "GIT_CONFIG_PARAMETERS", "KUBECONFIG", "MY_SECRET"):
        monkeypatch.setenv(name, "leak")
    environment = git_environment([("a.b", "1"), ("a.b", "2")], {"GIT_ASKPASS": "ask"})
    assert "leak" not in environment.values()
    assert environment["GIT_CONFIG_COUNT"] == "2"
    assert (environment["GIT_CONFIG_KEY_1"], environment["GIT_CONFIG_VALUE_1"]) == ("a.b", "2")
    assert (environment["GIT_ASKPASS"], environment["GIT_TERMINAL_PROMPT"]) == ("ask", "0")
    assert environment["GIT_ALLOW_PROTOCOL"] == "http:https:ssh:file"


def test_repositories_are_found_where_they_are_put_and_unfinished_ones_are_not(tmp_path: Path) -> None:
    path = repository_path(tmp_path, "town", "greeter")
    Repository.create(path)
    path.with_name(".other.git.unfinished").mkdir()
    (tmp_path / "rigs" / "town" / ".half.git").mkdir()
    assert list(repositories(tmp_path)) == [path]


@pytest.mark.parametrize(("namespace", "rig"), [("..", "x"), ("town", ".."), ("town", "a/b"), ("", "x"), ("town", "X"), ("town", "x" * 64)])
def test_names_that_lead_elsewhere_have_no_path(tmp_path: Path, namespace: str, rig: str) -> None:
    with pytest.raises(ValueError, match="not a name of a namespace or a rig"):
        repository_path(tmp_path, namespace, rig)


def test_counters_come_out_with_help_type_and_labels() -> None:
    counters = Counters()
    counters.add("gastown_repo_requests_total", service="tree", status="200")
    counters.add("gastown_repo_requests_total", service="tree", status="200")
    counters.add("gastown_repo_children")
    lines = counters.text().splitlines()
    assert 'gastown_repo_requests_total{service="tree",status="200"} 2' in lines
    assert "# TYPE gastown_repo_children gauge" in lines
    assert "gastown_repo_refused_refs_total 0" in lines
    with pytest.raises(AssertionError, match="no help text"):
        counters.add("made_up")


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
