"""Merging in memory: clean trees, conflicts with their files, stacks of heads."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gastown_git.merge import Head, MergeConflict, MergedTree, Stack, StackConflict, merge, stack
from gastown_git.refs import ObjectMissing
from gastown_git.repository import Repository
from support import git_builder as build


def head(repository: Repository, parent: str, files: dict[str, build.Entry | None], name: str = "furiosa") -> Head:
    return Head(build.change(repository, parent, files), build.author(name), f"Merge work of {name}")


def test_changes_to_different_files_merge_to_a_tree_with_both(rig: Repository) -> None:
    base = build.main_of(rig)
    merged = merge(rig, build.change(rig, base, {"a": b"1"}), build.change(rig, base, {"d/b": (build.PROGRAM, b"2")}))
    assert isinstance(merged, MergedTree)
    assert build.read_files(rig, merged.tree) == {"README": (build.FILE, b"hello\n"), "a": (build.FILE, b"1"), "d/b": (build.PROGRAM, b"2")}


@pytest.mark.parametrize(
    ("ours", "theirs", "files", "message"),
    [
        pytest.param({"README": b"one\n"}, {"README": b"two\n"}, ("README",), "Merge conflict in README", id="the same line changed twice"),
        pytest.param({"README": None}, {"README": b"two\n"}, ("README",), "modify/delete", id="deleted here, changed there"),
        pytest.param({"new": b"one\n"}, {"new": b"two\n"}, ("new",), "add/add", id="added twice with different content"),
        pytest.param(
            {"x\nç/y z": b"1\n"}, {"x\nç/y z": b"2\n"}, ("x\nç/y z",), "CONFLICT", id="a path with a newline, a blank and letters"
        ),
    ],
)
def test_a_conflict_names_its_files_and_tells_why(
    rig: Repository, ours: dict[str, build.Entry | None], theirs: dict[str, build.Entry | None], files: tuple[str, ...], message: str
) -> None:
    base = build.main_of(rig)
    merged = merge(rig, build.change(rig, base, ours), build.change(rig, base, theirs))
    assert isinstance(merged, MergeConflict)
    assert merged.files == files
    assert message in merged.message


def test_a_file_added_to_a_folder_that_was_renamed_meanwhile_is_a_conflict_and_not_left_behind(rig: Repository) -> None:
    base = build.change(rig, build.main_of(rig), {f"old/{name}": name.encode() * 40 for name in "abcde"})
    renamed = build.change(rig, base, {f"old/{name}": None for name in "abcde"} | {f"new/{name}": name.encode() * 40 for name in "abcde"})
    merged = merge(rig, renamed, build.change(rig, base, {"old/late": b"late\n"}))
    assert isinstance(merged, MergeConflict)
    assert "late" in "".join(merged.files)


def test_histories_without_a_common_commit_are_a_conflict_with_a_remedy(rig: Repository) -> None:
    merged = merge(rig, build.main_of(rig), build.commit(rig, {"z": b"2"}))
    assert isinstance(merged, MergeConflict)
    assert merged.files == ()
    assert "start the work from the branch" in merged.message


def test_a_missing_commit_is_named_and_never_mistaken_for_a_conflict(rig: Repository) -> None:
    with pytest.raises(ObjectMissing, match="12" * 20):
        merge(rig, build.main_of(rig), "12" * 20)


def test_a_merge_driver_named_by_the_tree_is_not_run(rig: Repository) -> None:
    base = build.change(rig, build.main_of(rig), {".gitattributes": b"* merge=evil\n"})
    merged = merge(rig, build.change(rig, base, {"README": b"1\n"}), build.change(rig, base, {"README": b"2\n"}))
    assert isinstance(merged, MergeConflict)


def test_a_stack_contains_every_head_and_is_the_same_commit_when_built_again(rig: Repository) -> None:
    base = build.main_of(rig)
    heads = [head(rig, base, {name: b"1"}, name) for name in ("ace", "slit", "nux")]
    built = stack(rig, base, heads)
    assert isinstance(built, Stack)
    assert built == stack(Repository.open(rig.path), base, heads)
    assert all(rig.is_ancestor(each.commit, built.commit) for each in heads)
    top = rig.commit(built.commit)
    assert (top.author.name, top.message, top.parents[1]) == ("nux", "Merge work of nux", heads[2].commit)
    assert built.tree == top.tree


def test_a_head_that_is_contained_already_adds_no_commit(rig: Repository) -> None:
    base = build.main_of(rig)
    first = head(rig, base, {"a": b"1"})
    built = stack(rig, base, [first])
    assert isinstance(built, Stack)
    assert stack(rig, built.commit, [first]) == built
    assert stack(rig, base, []) == Stack(base, rig.tree_of(base))


def test_a_stack_tells_which_head_conflicts(rig: Repository) -> None:
    base = build.main_of(rig)
    heads = [head(rig, base, {"a": b"1"}), head(rig, base, {"README": b"1\n"}), head(rig, base, {"README": b"2\n"})]
    built = stack(rig, base, heads)
    assert isinstance(built, StackConflict)
    assert (built.position, built.conflict.files) == (2, ("README",))


_FILES = st.dictionaries(st.sampled_from(["a", "b", "d/c", "d/e"]), st.sampled_from([b"1\n", b"2\n"]), max_size=3)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ours=_FILES, theirs=_FILES)
def test_law_a_clean_merge_holds_every_change_and_is_the_same_from_both_sides(
    rig: Repository, ours: dict[str, bytes], theirs: dict[str, bytes]
) -> None:
    base = build.main_of(rig)
    one, other = build.change(rig, base, dict(ours)), build.change(rig, base, dict(theirs))
    merged, mirrored = merge(rig, one, other), merge(rig, other, one)
    assert type(merged) is type(mirrored)
    if isinstance(merged, MergedTree):
        assert merged == mirrored
        wanted = {path: (build.FILE, content) for path, content in (ours | theirs).items()}
        assert wanted.items() <= build.read_files(rig, merged.tree).items()
    else:
        assert any(ours[path] != theirs[path] for path in ours.keys() & theirs.keys())
