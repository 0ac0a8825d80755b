"""The bare repository: creation, settings, objects, history, pins."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gastown_git import maintenance
from gastown_git.git_process import run_git
from gastown_git.ref_names import keep_ref, merge_request_ref
from gastown_git.refs import ObjectMissing, RefMoved
from gastown_git.repository import NoSuchRepository, Repository
from support import git_builder as build


def git(repository: Repository, *arguments: str) -> str:
    """Ask git itself; the independent witness."""
    return run_git(list(arguments), repository=repository.path, timeout_seconds=60).output.decode().strip()


def test_creating_twice_gives_the_same_repository_and_leaves_no_unfinished_folder(tmp_path: Path) -> None:
    first = Repository.create(tmp_path / "town" / "rig.git")
    commit = build.commit(first, {"a": b"1"})
    first.keep(commit)
    again = Repository.create(tmp_path / "town" / "rig.git")
    assert again.refs.find(keep_ref(commit)) == commit
    assert [entry.name for entry in (tmp_path / "town").iterdir()] == ["rig.git"]


def test_a_creation_killed_half_way_does_not_stop_the_next_one(tmp_path: Path) -> None:
    for name in (".rig.git.unfinished", ".rig.git.0a1b2c3d.unfinished"):
        unfinished = tmp_path / name
        unfinished.mkdir()
        (unfinished / "HEAD").write_text("ref: refs/heads/ma")
        (unfinished / "config.lock").touch()
    created = Repository.create(tmp_path / "rig.git")
    assert git(created, "symbolic-ref", "HEAD") == "refs/heads/main"
    assert [entry.name for entry in tmp_path.iterdir()] == ["rig.git"]


def test_settings_that_protect_the_repository_are_set_and_mended_at_the_next_open(tmp_path: Path) -> None:
    created = Repository.create(tmp_path / "rig.git")
    git(created, "config", "core.hooksPath", "/tmp/evil")
    git(created, "config", "--unset-all", "transfer.hideRefs")
    Repository.create(tmp_path / "rig.git", max_push_bytes=77)
    wanted = {
        "core.hooksPath": "/dev/null",
        "receive.fsckObjects": "true",
        "receive.autogc": "false",
        "gc.auto": "0",
        "receive.maxInputSize": "77",
    }
    assert {key: git(created, "config", key) for key in wanted} == wanted
    assert git(created, "config", "--get-all", "transfer.hideRefs").split() == ["refs/evidence", "refs/keep", "refs/candidates"]


def test_opening_a_folder_that_is_no_repository_says_so(tmp_path: Path) -> None:
    with pytest.raises(NoSuchRepository, match="not a bare repository"):
        Repository.open(tmp_path)


def test_a_repository_inside_another_ones_folder_is_not_found_by_accident(rig: Repository) -> None:
    inner = rig.path / "inner.git"
    inner.mkdir()
    with pytest.raises(NoSuchRepository):
        Repository.open(inner)


def test_the_same_arguments_make_the_same_commit(rig: Repository) -> None:
    def make() -> str:
        return rig.write_commit(tree=build.tree(rig, {"a": b"1"}), parents=[], author=build.author(), message="Same\n")

    assert make() == make()


def test_users_git_settings_do_not_reach_commits_or_children(rig: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".gitconfig").write_text("[alias]\n\tversion = !echo leaked\n[user]\n\tname = Leak\n[core]\n\tpager = leak\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_DIR", str(tmp_path))
    assert "leak" not in git(rig, "config", "--list").lower()
    assert rig.commit(build.commit(rig, {"a": b"1"})).author.name == "furiosa"


def test_first_parent_log_follows_landings_only(rig: Repository) -> None:
    base = build.main_of(rig)
    side = build.change(rig, base, {"b": b"2"})
    merge = rig.write_commit(tree=rig.tree_of(side), parents=[base, side], author=build.author(), message="Land")
    assert [each.commit for each in rig.first_parent_log(merge)] == [merge, base]
    assert [each.commit for each in rig.first_parent_log(merge, limit=1)] == [merge]


def test_changed_paths_are_counted_from_the_merge_base_and_not_from_the_tip_of_main(rig: Repository) -> None:
    base = build.main_of(rig)
    head = build.change(rig, base, {"work.py": b"1", "README": None})
    main = build.change(rig, base, {"somebody-elses.py": b"1"})
    assert rig.changed_paths(main, head) == ["README", "work.py"]
    assert git(rig, "diff", "--name-only", "--no-renames", f"{main}...{head}").split() == ["README", "work.py"]
    assert rig.changed_paths(main, base) == []


def test_changed_paths_of_an_unrelated_history_are_all_its_paths(rig: Repository) -> None:
    stranger = build.commit(rig, {"x/y": b"1", "z": b"2"})
    assert rig.changed_paths(build.main_of(rig), stranger) == ["x/y", "z"]


def test_a_pin_holds_one_head_and_another_head_under_its_name_is_refused(rig: Repository) -> None:
    base = build.main_of(rig)
    head, other = build.change(rig, base, {"a": b"1"}), build.change(rig, base, {"a": b"2"})
    assert rig.pin_merge_request("gp-1-abc", head) is True
    assert rig.pin_merge_request("gp-1-abc", head) is False
    with pytest.raises(RefMoved):
        rig.pin_merge_request("gp-1-abc", other)
    assert rig.refs.find(merge_request_ref("gp-1-abc")) == head


@pytest.mark.parametrize("name", ["../../heads/main", "a/b", "", "x.lock", "a..b", "Upper"])
def test_a_merge_request_name_that_is_no_ref_part_is_refused(rig: Repository, name: str) -> None:
    with pytest.raises(ValueError, match="can not be part of a ref"):
        rig.pin_merge_request(name, build.main_of(rig))


def test_missing_objects_are_named(rig: Repository) -> None:
    missing = "12" * 20
    with pytest.raises(ObjectMissing, match=missing):
        rig.commit(missing)
    with pytest.raises(ObjectMissing, match=missing):
        rig.is_ancestor(missing, build.main_of(rig))
    with pytest.raises(ObjectMissing, match="README"):
        rig.commit("README")
    with pytest.raises(ObjectMissing):
        rig.read(missing)


def test_maintenance_keeps_what_no_ref_points_to_yet_and_leaves_an_intact_repository(rig: Repository) -> None:
    tip = build.main_of(rig)
    for number in range(30):
        tip = build.change(rig, tip, {f"f{number}": str(number).encode()})
    rig.keep(tip)
    unreferenced = build.change(rig, tip, {"candidate": b"not yet held"})
    maintenance.maintain(rig)
    assert rig.commit(unreferenced).parents == (tip,)
    assert rig.refs.find(keep_ref(tip)) == tip  # packed now, still read
    assert (rig.path / "objects" / "info" / "commit-graphs").is_dir()
    assert subprocess.run(["git", "--git-dir", str(rig.path), "fsck", "--strict"], capture_output=True, timeout=60).returncode == 0
