"""The init step of a session: where the work starts, what is restored, and that it may be killed anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from gastown.polecat.checkout import checkout, credential_settings
from gastown.polecat.checkpoint import Checkpointer
from gastown.polecat.errors import Refused, Unreachable
from gastown.polecat.git import Git
from gastown.polecat.session import Session
from support.session_builder import AGENT, BEAD, Served, git, git_that_kills_its_caller, run_killed_at, serve, session

OWN_BRANCH = f"refs/heads/polecat/{AGENT}/{BEAD}"
LATER = "@1700001000 +0000"
LATEST = "@1700002000 +0000"


@pytest.fixture
def served(tmp_path: Path) -> Served:
    return serve(tmp_path / "served.git")


@pytest.fixture
def here(served: Served, tmp_path: Path) -> Session:
    return session(served, tmp_path / "workspace")


def test_a_new_bead_starts_at_the_target_branch_in_a_real_worktree(served: Served, here: Session) -> None:
    start = checkout(here)
    assert start.commit == served.tip("refs/heads/main")
    assert git(here.worktree, "symbolic-ref", "HEAD") == OWN_BRANCH
    assert git(here.worktree, "status", "--porcelain") == ""
    assert (here.worktree / "README").read_text() == "hello\n"
    assert git(here.repository, "worktree", "list", "--porcelain").count("worktree ") == 2


def test_the_worktree_tells_the_command_line_tools_where_they_are(here: Session) -> None:
    checkout(here)
    told = {name: git(here.worktree, "config", f"gastown.{name}") for name in ("namespace", "rig", "agent", "bead", "repository")}
    assert told == {"namespace": "town", "rig": "greeter", "agent": AGENT, "bead": BEAD, "repository": here.repository_url}


def test_work_goes_on_at_the_start_commit_of_another_agent(served: Served, here: Session) -> None:
    served.commit_on("refs/heads/polecat/greeter-max/gp-a3f8", {"greet.py": "theirs\n"}, date=LATER)
    theirs = served.tip("refs/heads/polecat/greeter-max/gp-a3f8")
    here = session(served, here.workspace, start_commit=theirs)
    assert checkout(here).commit == theirs
    assert (here.worktree / "greet.py").read_text() == "theirs\n"
    assert git(here.worktree, "symbolic-ref", "HEAD") == OWN_BRANCH


def test_a_start_commit_on_no_branch_is_fetched_by_its_id(served: Served, here: Session) -> None:
    kept = served.commit_on("refs/keep/something", {"kept.txt": "kept\n"}, date=LATER)
    here = session(served, here.workspace, start_commit=kept)
    assert checkout(here).commit == kept


def test_a_start_commit_that_exists_nowhere_is_refused_by_name(served: Served, here: Session) -> None:
    here = session(served, here.workspace, start_commit="1" * 40)
    with pytest.raises(Refused, match=f"bead {BEAD}: its head 1{{40}} is not in .*refs/keep"):
        checkout(here)


def test_a_checkpoint_comes_back_as_uncommitted_work(served: Served, here: Session, tmp_path: Path) -> None:
    checkout(here)
    git(here.worktree, "commit", "--quiet", "--allow-empty", "-m", "Half of it")
    head = git(here.worktree, "rev-parse", "HEAD")
    (here.worktree / "greet.py").write_text("half\n")
    (here.worktree / "new file.txt").write_text("new\n")
    (here.worktree / "old.txt").unlink()
    kept = Checkpointer(here, Git(here.worktree)).take()

    again = session(served, tmp_path / "second", start_commit=kept.commit, agent="greeter-max")
    start = checkout(again)
    assert (start.commit, start.restored) == (head, kept.commit)
    assert git(again.worktree, "rev-parse", "HEAD") == head
    assert git(again.worktree, "status", "--porcelain").splitlines() == [" M greet.py", " D old.txt", '?? "new file.txt"']
    assert git(again.worktree, "diff", "--cached", "--name-only") == ""


def test_work_of_a_session_that_was_killed_before_it_could_report_is_found(served: Served, here: Session, tmp_path: Path) -> None:
    checkout(here)
    (here.worktree / "greet.py").write_text("half\n")
    kept = Checkpointer(here, Git(here.worktree)).take()
    again = session(served, tmp_path / "second")  # no start commit: the operator never heard of it
    assert checkout(again).restored == kept.commit
    assert (again.worktree / "greet.py").read_text() == "half\n"


def test_the_newest_of_branch_and_checkpoint_wins(served: Served, here: Session) -> None:
    served.commit_on(OWN_BRANCH, {"greet.py": "first\n"}, date=LATER)
    first = served.tip(OWN_BRANCH)
    newest = served.commit_on(f"refs/agents/{AGENT}/wip/{BEAD}", {"greet.py": "second\n"}, date=LATEST)
    here = session(served, here.workspace, start_commit=first)
    assert checkout(here).commit == newest


def test_another_agent_goes_on_from_the_checkpoint_of_one_that_was_killed(served: Served, here: Session, tmp_path: Path) -> None:
    checkout(here)
    (here.worktree / "greet.py").write_text("half\n")
    kept = Checkpointer(here, Git(here.worktree)).take()
    other = session(served, tmp_path / "second", agent="greeter-max")  # nobody could tell the operator: no start commit
    assert checkout(other).restored == kept.commit
    assert (other.worktree / "greet.py").read_text() == "half\n"


def test_another_agent_goes_on_from_the_branch_of_one_that_was_killed(served: Served, here: Session) -> None:
    pushed = served.commit_on(f"refs/heads/polecat/greeter-max/{BEAD}", {"greet.py": "theirs\n"}, date=LATER)
    assert checkout(here).commit == pushed


def test_branches_below_a_name_like_the_beads_decide_nothing(served: Served, here: Session) -> None:
    # The server lets any agent write these.
    served.commit_on(f"refs/heads/polecat/greeter-max/try/{BEAD}", {"greet.py": "evil\n"}, date="@2000000000 +0000")
    assert checkout(here).commit == served.tip("refs/heads/main")


def test_what_has_landed_already_is_no_start(served: Served, here: Session) -> None:
    landed = served.tip("refs/heads/main")
    git(served.path, "update-ref", OWN_BRANCH, landed)
    main = served.commit_on("refs/heads/main", {"README": "newer\n"})
    here = session(served, here.workspace, start_commit=landed)
    assert checkout(here).commit == main


def test_a_second_call_changes_nothing(here: Session) -> None:
    first = checkout(here)
    (here.worktree / "greet.py").write_text("work of the agent\n")
    assert checkout(here) == first
    assert (here.worktree / "greet.py").read_text() == "work of the agent\n"


def test_a_repository_that_is_still_being_adopted_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "served.git"
    here = session(Served(path), tmp_path / "workspace", checkout_seconds=60)
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            serve(path)

    checkout(here, sleep=sleep)
    assert len(waits) == 2
    assert (here.worktree / "README").exists()


def test_a_repository_that_never_comes_is_named_with_the_last_words_of_git(tmp_path: Path) -> None:
    here = session(Served(tmp_path / "none.git"), tmp_path / "workspace", checkout_seconds=0)
    with pytest.raises(
        Unreachable, match=r"repository file://.*none\.git: not fetched within 0 s: git fetch: .*RepositoryReady of rig greeter"
    ):
        checkout(here)


def test_a_checkout_killed_before_any_git_command_is_healed_by_the_next_one(served: Served, here: Session, tmp_path: Path) -> None:
    script = "import sys, pathlib\nfrom support.session_builder import Served, session\nfrom gastown.polecat.checkout import checkout\n"
    script += "checkout(session(Served(pathlib.Path(sys.argv[1])), pathlib.Path(sys.argv[2])))\n"
    tools = git_that_kills_its_caller(tmp_path / "tools")
    ended = False
    for call in range(1, 60):
        ended = run_killed_at(call, script, [str(served.path), str(here.workspace)], tools)
        start = checkout(here)
        assert git(here.worktree, "status", "--porcelain") == "", f"killed before git command {call}"
        assert start.commit == served.tip("refs/heads/main")
        if ended:
            break
        (here.workspace / ".checkout-complete").unlink()
    assert ended


def test_what_a_killed_checkout_left_is_cleared_away_however_deep_it_is(served: Served, here: Session) -> None:
    folder = here.worktree
    folder.mkdir(parents=True)
    for _ in range(1500):  # as a checkpoint may hold it; Python's own removal is recursive
        folder /= "d"
        folder.mkdir()
    assert checkout(here).commit == served.tip("refs/heads/main")
    assert git(here.worktree, "status", "--porcelain") == ""


def test_only_the_repository_server_is_given_the_token_and_no_setting_holds_it(tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    token_file.write_text("secret-token")
    settings = credential_settings("http://127.0.0.1:8080/town/greeter.git", str(token_file))
    assert settings[0] == ("credential.helper", "")
    assert not any("secret-token" in value for _, value in settings)
    repository = tmp_path / "r.git"
    git(tmp_path, "init", "--quiet", "--bare", str(repository))
    for name, value in settings:
        git(repository, "config", "--add", name, value)
    ours = git(repository, "credential", "fill", given=b"protocol=http\nhost=127.0.0.1:8080\n\n")
    assert "password=secret-token" in ours
    token_file.write_text("rotated-token")
    assert "password=rotated-token" in git(repository, "credential", "fill", given=b"protocol=http\nhost=127.0.0.1:8080\n\n")
    with pytest.raises(AssertionError):
        git(repository, "credential", "fill", given=b"protocol=http\nhost=evil.invalid\n\n", GIT_TERMINAL_PROMPT="0", GIT_ASKPASS="false")
