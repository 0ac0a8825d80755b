"""Refs by compare-and-swap: races between processes, abandoned locks, protected branches."""

from __future__ import annotations

import re
import subprocess
import time

import pytest

from gastown_git import refs, stale_locks
from gastown_git.git_process import GitFailed, run_git
from gastown_git.refs import ObjectMissing, ProtectedRef, RefLocked, RefMoved
from gastown_git.repository import Repository
from support import git_builder as build
from support import ref_race as race


def test_of_several_processes_that_create_a_ref_exactly_one_wins_and_its_value_stands(rig: Repository) -> None:
    commits = [build.change(rig, build.main_of(rig), {"who": str(number).encode()}) for number in range(race.PROCESSES)]
    answers = race.run_at_once(race.create_all, rig.path, commits)
    winners = {round_number: commits[number] for number, won in answers for round_number in won}
    assert sum(len(won) for _, won in answers) == race.ROUNDS
    assert {f"refs/mr/race-{number}": commit for number, commit in winners.items()} == rig.refs.find_all("refs/mr/")


def test_no_acknowledged_update_is_lost_between_processes_and_a_repacker(rig: Repository) -> None:
    base = build.main_of(rig)
    rig.refs.create("refs/keep/chain", base)
    packer = subprocess.Popen(["sh", "-c", f"while :; do git --git-dir '{rig.path}' pack-refs --all; sleep 0.02; done"])
    try:
        answers = race.run_at_once(race.append_commits, rig.path)
    finally:
        packer.terminate()
        packer.wait()
    tip = rig.refs.find("refs/keep/chain")
    assert tip is not None
    history = {each.commit for each in rig.first_parent_log(tip)}
    acknowledged = {commit for mine in answers for commit in mine}
    assert len(acknowledged) == race.PROCESSES * race.ROUNDS
    assert acknowledged <= history


def test_update_and_delete_refuse_an_outdated_expectation(rig: Repository) -> None:
    one = build.main_of(rig)
    two = build.change(rig, one, {"a": b"1"})
    rig.refs.create("refs/keep/x", one)
    with pytest.raises(RefMoved, match="found"):
        rig.refs.update("refs/keep/x", new=two, expected=two)
    with pytest.raises(RefMoved):
        rig.refs.delete("refs/keep/x", expected=two)
    with pytest.raises(RefMoved, match="no such ref"):
        rig.refs.update("refs/keep/none", new=two, expected=one)
    rig.refs.update("refs/keep/x", new=two, expected=one)
    rig.refs.delete("refs/keep/x", expected=two)
    assert rig.refs.find("refs/keep/x") is None


def test_creating_with_the_same_value_again_is_no_error_and_with_another_is_refused(rig: Repository) -> None:
    one = build.main_of(rig)
    assert rig.refs.create("refs/keep/x", one) is True
    assert rig.refs.create("refs/keep/x", one) is False
    with pytest.raises(RefMoved):
        rig.refs.create("refs/keep/x", build.change(rig, one, {"a": b"1"}))


def test_a_ref_to_an_object_that_is_not_there_is_refused(rig: Repository) -> None:
    with pytest.raises(ObjectMissing):
        rig.refs.create("refs/keep/x", "12" * 20)


@pytest.mark.parametrize("name", ["refs/heads/main", "refs/heads/integration/big", "refs/heads/anything"])
def test_protected_branches_are_refused_by_the_ordinary_methods(rig: Repository, name: str) -> None:
    one = build.main_of(rig)
    two = build.change(rig, one, {"a": b"1"})
    with pytest.raises(ProtectedRef):
        rig.refs.create(name, two)
    with pytest.raises(ProtectedRef):
        rig.refs.update(name, new=two, expected=one)
    with pytest.raises(ProtectedRef):
        rig.refs.delete(name, expected=one)
    assert build.main_of(rig) == one


def test_a_lock_file_left_by_a_killed_process_stops_nobody_for_long(rig: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stale_locks, "ABANDONED_SECONDS", 0.2)
    one = build.main_of(rig)
    two = build.change(rig, one, {"a": b"1"})
    rig.refs.create("refs/keep/x", one)
    lock = rig.path / "refs" / "keep" / "x.lock"
    lock.touch()
    rig.refs.update("refs/keep/x", new=two, expected=one)
    assert rig.refs.find("refs/keep/x") == two
    assert not lock.exists()


def test_a_lock_that_changes_hands_is_never_removed(rig: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stale_locks, "ABANDONED_SECONDS", 0.2)
    watch = stale_locks.LockWatch(rig.path)
    lock = rig.path / "refs" / "heads" / "busy.lock"
    deadline = time.monotonic() + 0.6
    while time.monotonic() < deadline:
        lock.unlink(missing_ok=True)
        lock.write_text(str(time.monotonic()))
        assert watch.sweep() == []
    assert lock.exists()


def test_the_sweep_finds_abandoned_locks_of_refs_and_later_those_of_the_commit_graph(
    rig: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = stale_locks.LockWatch(rig.path)
    graph = "objects/info/commit-graphs/commit-graph-chain.lock"
    names = ["config.lock", "refs/heads/main.lock"]
    for name in [*names, graph]:
        (rig.path / name).parent.mkdir(parents=True, exist_ok=True)
        (rig.path / name).touch()
    assert watch.sweep() == []
    monkeypatch.setattr(stale_locks, "ABANDONED_SECONDS", 0.0)
    assert sorted(watch.sweep()) == names
    monkeypatch.setattr(stale_locks, "LONG_ABANDONED_SECONDS", 0.0)
    assert watch.sweep() == [graph]


def test_packed_refs_half_written_by_a_killed_git_do_not_stop_packing_and_deleting(rig: Repository) -> None:
    rig.refs.create("refs/keep/x", build.main_of(rig))
    pack = ["pack-refs", "--all"]
    run_git(pack, repository=rig.path, timeout_seconds=30)
    draft = rig.path / "packed-refs.new"
    draft.write_bytes((rig.path / "packed-refs").read_bytes()[:20])
    with pytest.raises(GitFailed, match=re.escape("packed-refs.new")):
        run_git(pack, repository=rig.path, timeout_seconds=30)
    assert stale_locks.LockWatch(rig.path).sweep() == ["packed-refs.new"]
    run_git(["update-ref", "-d", "refs/keep/x"], repository=rig.path, timeout_seconds=30)
    assert rig.refs.find_all("refs/") == {"refs/heads/main": build.main_of(rig)}


def test_packed_refs_that_are_being_written_are_left_alone(rig: Repository) -> None:
    draft, lock = rig.path / "packed-refs.new", rig.path / "packed-refs.lock"
    draft.touch()
    lock.touch()
    assert stale_locks.LockWatch(rig.path).sweep() == []
    assert draft.exists()
    assert lock.exists()


def test_a_name_that_collides_with_a_folder_of_refs_ends_in_an_error_and_not_in_a_loop(
    rig: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refs, "LOCK_PATIENCE_SECONDS", 0.1)
    rig.refs.create("refs/keep/a", build.main_of(rig))
    with pytest.raises(RefLocked, match="refs/keep/a/b"):
        rig.refs.create("refs/keep/a/b", build.main_of(rig))
