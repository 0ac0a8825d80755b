"""From a checkpoint to the next session, another agent's: everything is there again, or is named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gastown.polecat.checkout import Start, checkout
from gastown.polecat.checkpoint import Checkpointer, closing_commit, find_record, restored_work
from gastown.polecat.git import Git
from gastown.polecat.session import Session
from support.session_builder import BEAD, Served, everything_of_the_agents, git, serve, session

FIRST, SECOND, THIRD = "greeter-furiosa", "greeter-max", "greeter-nux"
LIMIT = 1000


@pytest.fixture
def served(tmp_path: Path) -> Served:
    return serve(tmp_path / "served.git")


@pytest.fixture
def here(served: Served, tmp_path: Path) -> Session:
    prepared = session(served, tmp_path / FIRST)
    checkout(prepared)
    return prepared


def take(here: Session) -> str:
    before = everything_of_the_agents(here)
    kept = Checkpointer(here, Git(here.worktree), file_limit_bytes=LIMIT).take()
    assert everything_of_the_agents(here) == before
    return kept.commit


def resume(here: Session, agent: str = SECOND, **changes: str) -> tuple[Session, Start]:
    """The next session, which nobody told anything: the one before was killed."""
    following = session(Served(Path(here.repository_url.removeprefix("file://"))), here.workspace.with_name(agent), agent=agent, **changes)
    return following, checkout(following)


def notes(here: Session) -> str:
    return "\n".join(restored_work(Git(here.worktree))[1])


def status(here: Session) -> list[str]:
    return git(here.worktree, "status", "--porcelain", "--untracked-files=all").splitlines()


def commit(here: Session, name: str, content: str = "x\n") -> str:
    (here.worktree / name).write_text(content)
    git(here.worktree, "add", name)
    git(here.worktree, "commit", "--quiet", "-m", f"Add {name}")
    return git(here.worktree, "rev-parse", "HEAD")


def test_what_was_staged_is_staged_again_and_what_was_changed_after_that_is_there_too(here: Session) -> None:
    (here.worktree / "greet.py").write_text("staged\n")
    git(here.worktree, "add", "greet.py")
    (here.worktree / "greet.py").write_text("changed again\n")
    (here.worktree / "only-staged").write_text("in the index alone\n")
    git(here.worktree, "add", "only-staged")
    (here.worktree / "only-staged").unlink()
    before = status(here)
    take(here)
    following, _ = resume(here)
    assert status(following) == before == ["MM greet.py", "AD only-staged"]
    assert git(following.worktree, "show", ":greet.py") == "staged"
    assert git(following.worktree, "show", ":only-staged") == "in the index alone"


def test_an_ignored_file_that_was_added_with_force_is_kept_over_several_sessions(here: Session) -> None:
    (here.worktree / ".gitignore").write_text("*.log\n")
    (here.worktree / "wanted.log").write_text("wanted\n")
    git(here.worktree, "add", "--force", "wanted.log")
    take(here)
    second, _ = resume(here)
    (second.worktree / "more").write_text("more\n")
    take(second)
    third, _ = resume(second, THIRD)
    assert (third.worktree / "wanted.log").read_text() == "wanted\n"
    assert "A  wanted.log" in status(third)


def test_what_is_left_out_is_named_to_the_agent_that_goes_on(here: Session) -> None:
    commit(here, "plain")
    (here.worktree / ".gitignore").write_text("*.log\nbuild/\n")
    (here.worktree / "debug.log").write_text("ignored\n")
    (here.worktree / "build").mkdir()
    (here.worktree / "build" / "product").write_text("ignored\n")
    (here.worktree / "core dump").write_bytes(b"x" * (LIMIT + 1))
    (here.worktree / "staged-core").write_bytes(b"y" * (LIMIT + 1))
    (here.worktree / "gone-core").write_bytes(b"z" * (LIMIT + 1))
    git(here.worktree, "add", "staged-core", "gone-core")
    (here.worktree / "gone-core").unlink()
    git(here.worktree, "init", "--quiet", "vendored")
    git(here.worktree / "vendored", "commit", "--quiet", "--allow-empty", "-m", "Theirs")
    git(here.worktree, "add", "vendored")
    kept = take(here)
    record = find_record(Git(here.worktree), kept)
    assert record is not None
    assert set(record.left_out) == {"core dump", "staged-core", "gone-core", "vendored/"}
    assert set(record.ignored) == {"debug.log", "build/"}
    biggest = git(here.repository, "cat-file", "--batch-check=%(objectsize)", given=objects_of(here, kept).encode())
    assert max(map(int, biggest.split())) <= LIMIT
    following, _ = resume(here)
    assert "Not kept, and so lost" in notes(following)
    for name in ("core dump", "staged-core", "gone-core", "vendored/", "debug.log", "build/"):
        assert name in notes(following)


def objects_of(here: Session, commit_id: str) -> str:
    listed = git(here.repository, "rev-list", "--objects", commit_id, "^refs/remotes/origin/main").splitlines()
    return "\n".join(line.split(" ")[0] for line in listed) + "\n"


def test_a_merge_in_conflict_goes_on_as_a_merge_in_conflict(served: Served, here: Session) -> None:
    commit(here, "greet.py", "ours\n")
    served.commit_on("refs/heads/main", {"greet.py": "theirs\n", "other": "theirs\n"})
    git(here.worktree, "fetch", "--quiet", "origin")
    with pytest.raises(AssertionError):
        git(here.worktree, "merge", "origin/main")
    (here.worktree / "greet.py").write_text("half resolved\n<<<<<<<\n")
    (here.worktree / "new").write_text("new\n")
    before = status(here)
    take(here)
    following, _ = resume(here)
    assert status(following) == before
    assert (following.worktree / "greet.py").read_text() == "half resolved\n<<<<<<<\n"
    assert git(following.worktree, "rev-parse", "MERGE_HEAD") == served.tip("refs/heads/main")
    assert "A merge was under way and is again" in notes(following)
    git(following.worktree, "add", "--all")
    git(following.worktree, "commit", "--quiet", "-m", "Merge")
    assert len(git(following.worktree, "show", "--no-patch", "--format=%P", "HEAD").split()) == 2


def test_a_rebase_under_way_leaves_the_next_session_on_the_whole_branch_and_tells_where_the_rest_is(served: Served, here: Session) -> None:
    commit(here, "first")
    commit(here, "greet.py", "ours\n")
    tip = commit(here, "last")
    served.commit_on("refs/heads/main", {"greet.py": "theirs\n"})
    git(here.worktree, "fetch", "--quiet", "origin")
    with pytest.raises(AssertionError):
        git(here.worktree, "rebase", "origin/main")
    (here.worktree / "greet.py").write_text("half resolved\n")
    kept = take(here)
    following, start = resume(here)
    assert (start.commit, start.restored) == (tip, "")
    assert status(following) == []
    assert f"rebase was under way). You are on the branch; what lay in its worktree is commit {kept[:12]}" in notes(following)
    assert git(following.worktree, "show", f"{kept}:greet.py") == "half resolved"


def test_stashes_and_other_branches_are_there_again(here: Session) -> None:
    for content in ("first", "second"):
        (here.worktree / "greet.py").write_text(f"{content}\n")
        git(here.worktree, "stash", "push", "--quiet", "-m", content)
    git(here.worktree, "switch", "--quiet", "-c", "idea")
    idea = commit(here, "idea")
    git(here.worktree, "switch", "--quiet", here.branch)
    take(here)
    following, _ = resume(here)
    assert git(following.worktree, "stash", "list", "--format=%gs").splitlines()[0].endswith("second")
    git(following.worktree, "stash", "pop", "--quiet", "stash@{1}")
    assert (following.worktree / "greet.py").read_text() == "first\n"
    assert git(following.worktree, "rev-parse", "idea") == idea
    assert "Branches of the earlier session are here again: idea." in notes(following)


def test_a_detached_head_ahead_of_the_branch_is_gone_on_from(here: Session) -> None:
    git(here.worktree, "switch", "--quiet", "--detach")
    head = commit(here, "detached")
    (here.worktree / "half").write_text("half\n")
    take(here)
    following, start = resume(here)
    assert start.commit == head
    assert status(following) == ["?? half"]
    assert git(following.worktree, "symbolic-ref", "--short", "HEAD") == following.branch


def test_an_unborn_branch_is_kept_on_top_of_the_sessions_branch(here: Session) -> None:
    head = commit(here, "committed")
    git(here.worktree, "checkout", "--quiet", "--orphan", "afresh")
    (here.worktree / "half").write_text("half\n")
    take(here)
    following, start = resume(here)
    assert start.commit == head
    assert (following.worktree / "half").read_text() == "half\n"


def test_a_folder_that_a_link_replaced_comes_back_as_the_link(here: Session, tmp_path: Path) -> None:
    (here.worktree / "folder").mkdir()
    commit(here, "folder/file")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("secret of another place\n")
    (here.worktree / "folder" / "file").unlink()
    (here.worktree / "folder").rmdir()
    (here.worktree / "folder").symlink_to(elsewhere)
    kept = take(here)
    assert "secret" not in git(here.worktree, "log", "-p", kept, "-1")
    following, _ = resume(here)
    assert (following.worktree / "folder").readlink() == elsewhere


def test_a_pipe_in_the_place_of_a_file_is_not_opened_but_named(here: Session) -> None:
    (here.worktree / "greet.py").unlink()
    os.mkfifo(here.worktree / "greet.py")
    (here.worktree / "half").write_text("half\n")
    record = find_record(Git(here.worktree), take(here))
    assert record is not None
    assert record.left_out == ("greet.py",)


def test_work_that_was_thrown_away_stays_away(here: Session) -> None:
    (here.worktree / "greet.py").write_text("a bad idea\n")
    first = take(here)
    git(here.worktree, "checkout", "--quiet", "greet.py")
    second = take(here)
    assert second not in ("", first)
    following, start = resume(here)
    assert start.restored == ""
    assert status(following) == []


def test_work_that_was_thrown_away_before_it_was_handed_in_does_not_come_back_with_rework(served: Served, here: Session) -> None:
    head = commit(here, "done")
    (here.worktree / "transient").write_text("a build product\n")
    take(here)
    (here.worktree / "transient").unlink()
    closing = closing_commit(Git(here.worktree), here.agent, here.bead, head)
    git(here.worktree, "push", "--quiet", "origin", f"+{head}:refs/heads/{here.branch}", f"+{closing}:{here.checkpoint_ref}")
    following, start = resume(here, start_commit=head)
    assert start.commit == head
    assert status(following) == []
    # And once it has landed, a reopened bead begins at the target branch.
    git(served.path, "update-ref", "refs/heads/main", head)
    _, afresh = resume(here, THIRD, start_commit=head)
    assert (afresh.commit, afresh.restored) == (head, "")


def test_work_of_another_agent_that_was_thrown_away_does_not_come_back_with_rework_either(here: Session) -> None:
    head = commit(here, "done")
    (here.worktree / "greet.py").write_text("a bad idea\n")
    take(here)
    second, _ = resume(here)
    git(second.worktree, "checkout", "--quiet", "greet.py")
    closing = closing_commit(Git(second.worktree), second.agent, second.bead, head)
    git(second.worktree, "push", "--quiet", "origin", f"+{head}:refs/heads/{second.branch}", f"+{closing}:{second.checkpoint_ref}")
    third, start = resume(second, THIRD, start_commit=head)
    assert start.commit == head
    assert status(third) == []


def test_the_clock_of_a_node_does_not_decide_what_is_newest(here: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    (here.worktree / "greet.py").write_text("first\n")
    with monkeypatch.context() as patched:
        patched.setattr("gastown.polecat.checkpoint.time.time", lambda: 4_000_000_000.0)  # decades ahead
        take(here)
    second, _ = resume(here)
    (second.worktree / "greet.py").write_text("second\n")
    take(second)
    third, _ = resume(second, THIRD)
    assert (third.worktree / "greet.py").read_text() == "second\n"
    git(third.worktree, "checkout", "--quiet", "greet.py")
    take(third)
    fourth, _ = resume(third, "greeter-slit")
    assert status(fourth) == []


def test_a_branch_pushed_after_the_checkpoint_is_gone_on_from_and_one_pushed_before_is_not(served: Served, here: Session) -> None:
    (here.worktree / "greet.py").write_text("half\n")
    kept = take(here)
    pushed = served.commit_on(f"refs/heads/polecat/{THIRD}/{BEAD}", {"x": "x\n"}, date="@1700000900 +0000")
    _, start = resume(here)
    assert start.restored == kept
    later = served.commit_on(f"refs/heads/polecat/{THIRD}/{BEAD}", {"x": "y\n"}, date="@4000000000 +0000")
    _, start = resume(here, "greeter-slit", start_commit=pushed)
    assert start.commit == later


def test_through_a_chain_of_agents_nothing_is_lost_and_no_checkpoint_gets_into_the_history(here: Session) -> None:
    for number, agent in enumerate((SECOND, THIRD, "greeter-slit", FIRST + "-again")):
        (here.worktree / f"half-{number}").write_text("half\n")
        if number % 2:
            commit(here, f"whole-{number}")
        take(here)
        here, _ = resume(here, agent)
    assert status(here) == [f"?? half-{number}" for number in range(4)]
    assert git(here.worktree, "log", "--format=%s").splitlines() == ["Add whole-3", "Add whole-1", "Change"]


NAMES = st.binary(min_size=1, max_size=12).filter(
    lambda name: b"\0" not in name and b"/" not in name and name not in (b".", b"..") and name.lower() != b".git" and b"~" not in name
    and b"git" not in name.lower() and not any(byte >= 0x80 for byte in name[:-2])
)  # fmt: skip
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["write", "add", "delete", "link", "execute", "ignore", "big", "commit", "folder", "unstage"]),
        st.one_of(st.sampled_from([b"greet.py", b"old.txt", b"README"]), NAMES),
        st.binary(max_size=40),
    ),
    min_size=1,
    max_size=10,
)


def change(here: Session, kind: str, name: bytes, content: bytes) -> None:
    """One thing an agent may do; what can not be done (a file where a folder stands) is left."""
    path = Path(os.fsdecode(os.fsencode(here.worktree) + b"/" + name))
    text = os.fsdecode(name)
    try:
        if kind == "delete":
            path.unlink()
        elif kind == "link":
            path.symlink_to(os.fsdecode(content.replace(b"\0", b"") or b"nowhere"))
        elif kind == "execute":
            path.chmod(0o755)
        elif kind == "folder":
            path.unlink(missing_ok=True)
            path.mkdir()
            (path / "inside").write_bytes(content)
        elif kind == "ignore":
            with (here.worktree / ".gitignore").open("ab") as file:
                file.write(b"/" + name + b"\n")
        elif kind == "commit":
            git(here.worktree, "commit", "--quiet", "--allow-empty", "-m", "x")
        elif kind == "add":
            git(here.worktree, "add", "--force", "--", f":(literal){text}")
        elif kind == "unstage":
            git(here.worktree, "rm", "--quiet", "--cached", "--", f":(literal){text}")
        else:
            path.write_bytes(b"x" * (LIMIT + 1) if kind == "big" else content)
    except (OSError, AssertionError):
        pass


def files_of(here: Session) -> dict[str, tuple[int, str]]:
    inside = f"{here.worktree}/"
    everything = everything_of_the_agents(here)
    return {path.removeprefix(inside): seen for path, seen in everything.items() if path.startswith(inside) and path != f"{inside}.git"}


def try_changes(folder: Path, changes: list[tuple[str, bytes, bytes]]) -> None:
    here = session(serve(folder / "served.git"), folder / FIRST)
    checkout(here)
    for kind, name, content in changes:
        change(here, kind, name, content)
    kept = take(here)
    following, start = resume(here)
    record = find_record(Git(here.worktree), start.checkpoint) if start.checkpoint else None
    missing = {name.rstrip("/") for name in (*record.left_out, *record.ignored)} if record is not None else set()
    mine, theirs = files_of(here), files_of(following)
    for path, seen in mine.items():
        if is_folder(here, path) or any(path == name or path.startswith(f"{name}/") for name in missing):
            continue
        if record is None and kept in ("", git(here.worktree, "rev-parse", "HEAD")) and is_ignored(here, path):
            continue  # all was committed: there is no message to name it in
        assert theirs.get(path) == seen, path
    assert not {path for path in theirs if path not in mine and path not in missing}
    assert git(following.worktree, "rev-parse", "HEAD") == git(here.worktree, "rev-parse", "HEAD")


@settings(max_examples=8, deadline=None)
@given(changes=CHANGES)
def test_whatever_an_agent_did_the_next_one_finds_it_or_is_told_what_is_missing(
    changes: list[tuple[str, bytes, bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    try_changes(tmp_path_factory.mktemp("law"), changes)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@settings(max_examples=200, deadline=None)
@given(changes=CHANGES)
def test_whatever_an_agent_did_often_the_next_one_finds_it_or_is_told_what_is_missing(
    changes: list[tuple[str, bytes, bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    try_changes(tmp_path_factory.mktemp("law"), changes)


def is_folder(here: Session, path: str) -> bool:
    folder = here.worktree / path
    return folder.is_dir() and not folder.is_symlink()


def is_ignored(here: Session, path: str) -> bool:
    try:
        git(here.worktree, "check-ignore", "--quiet", "--", path)
    except AssertionError:
        return False
    return True
