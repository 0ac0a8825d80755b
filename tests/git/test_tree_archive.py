"""The tar of a tree: what is unpacked is byte for byte the tree that git has, whatever the tree's own attributes say."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pygit2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pygit2.enums import ObjectType

from gastown.polecat import tree_source
from gastown.polecat.tree_source import Limits, WrongTree
from gastown_git.git_process import run_git
from gastown_git.refs import ObjectMissing
from gastown_git.repository import Repository
from gastown_git.tree_archive import iterate_tar
from support import git_builder as build

SUBMODULE_COMMIT = "34" * 20


def tar_of(repository: Repository, tree: str) -> bytes:
    return b"".join(iterate_tar(repository, tree))


def unpacked_id(archive: bytes, target: Path) -> str:
    return tree_source.tree_id(target, tree_source.unpack(io.BytesIO(archive), target, Limits()))


def raw_tree(repository: Repository, *entries: tuple[bytes, bytes, str]) -> str:
    """A tree written byte by byte, as old or hostile tools do."""
    content = b"".join(mode + b" " + name + b"\0" + bytes.fromhex(object_id) for mode, name, object_id in entries)
    arguments = ["hash-object", "-t", "tree", "-w", "--stdin", "--literally"]
    return run_git(arguments, repository=repository.path, timeout_seconds=30, standard_input=content).output.decode().strip()


def test_every_kind_of_entry_comes_back_exactly(rig: Repository, tmp_path: Path) -> None:
    tree = build.tree(
        rig,
        {
            "plain": b"text\n",
            "empty": b"",
            "bin/run": (build.PROGRAM, b"#!/bin/sh\n"),
            "link": (build.LINK, b"bin//./run/"),
            "dangling": (build.LINK, b"../../../etc/passwd"),
            "vendored": (build.SUBMODULE, SUBMODULE_COMMIT),
            "x.d/y": b"1",
            "x-d": b"2",
            "x/y": b"3",
            "ü/" + "n" * 200 + "/deep": b"long names\n",
            "big": b"\0" * 3_000_001,
        },
    )
    target = tmp_path / "source"
    assert unpacked_id(tar_of(rig, tree), target) == tree
    assert (target / "bin" / "run").stat().st_mode & 0o777 == 0o755
    assert (target / "plain").stat().st_mode & 0o777 == 0o644
    assert str((target / "dangling").readlink()) == "../../../etc/passwd"
    assert list((target / "vendored").iterdir()) == []


def test_names_that_are_not_utf8_and_odd_modes_and_empty_folders_survive(rig: Repository, tmp_path: Path) -> None:
    blob, empty = rig.write_blob(b"1"), build.tree(rig, {})
    tree = raw_tree(rig, (b"100664", b"group-writable", blob), (b"40000", b"nothing", empty), (b"100755", b"\xff\xfe name", blob))
    assert unpacked_id(tar_of(rig, tree), tmp_path / "source") == tree


def test_attributes_of_the_tree_can_not_hide_or_rewrite_files(rig: Repository, tmp_path: Path) -> None:
    attributes = b"tests export-ignore\n* export-subst\n*.txt eol=crlf\n"
    tree = build.tree(rig, {".gitattributes": attributes, "tests/test_all.py": b"assert False\n", "v.txt": b"$Format:%H$\n"})
    git_archive = run_git(["archive", tree], repository=rig.path, timeout_seconds=30).output
    with tarfile.open(fileobj=io.BytesIO(git_archive)) as opened:
        assert "tests/test_all.py" not in opened.getnames()  # what we must not do
    target = tmp_path / "source"
    assert unpacked_id(tar_of(rig, tree), target) == tree
    assert (target / "tests" / "test_all.py").read_bytes() == b"assert False\n"
    assert (target / "v.txt").read_bytes() == b"$Format:%H$\n"


def test_the_archive_is_the_same_every_time_and_other_programs_can_read_it(rig: Repository) -> None:
    tree = build.tree(rig, {"a/b": b"1", "c": (build.LINK, b"a/b")})
    archive = tar_of(rig, tree)
    assert archive == tar_of(Repository.open(rig.path), tree)
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        assert opened.getnames() == ["a", "a/b", "c"]
        assert {(each.uid, each.gid, each.uname, each.mtime) for each in opened} == {(0, 0, "", 0)}


def test_folders_in_each_other_without_end_do_not_end_the_archive_halfway(rig: Repository) -> None:
    tree = raw_tree(rig, (b"100644", b"x", rig.write_blob(b"1")))
    git = pygit2.Repository(str(rig.path))
    for _ in range(3000):
        tree = str(git.write(ObjectType.TREE, b"40000 d\0" + bytes.fromhex(tree)))
    assert sum(piece.endswith(b"\0" * 1024) for piece in iterate_tar(rig, tree)) == 1


def test_an_empty_tree_is_an_empty_folder(rig: Repository, tmp_path: Path) -> None:
    tree = build.tree(rig, {})
    assert unpacked_id(tar_of(rig, tree), tmp_path / "source") == tree


def test_a_tree_with_a_missing_file_ends_in_an_error_and_not_in_a_shorter_archive(rig: Repository) -> None:
    tree = raw_tree(rig, (b"100644", b"gone", "12" * 20))
    with pytest.raises(ObjectMissing, match="12" * 20):
        tar_of(rig, tree)


def test_something_in_a_submodule_folder_is_noticed(rig: Repository, tmp_path: Path) -> None:
    tree = build.tree(rig, {"vendored": (build.SUBMODULE, SUBMODULE_COMMIT)})
    target = tmp_path / "source"
    unpacked = tree_source.unpack(io.BytesIO(tar_of(rig, tree)), target, Limits())
    (target / "vendored" / "smuggled").write_text("x")
    with pytest.raises(WrongTree, match="vendored is not empty"):
        tree_source.tree_id(target, unpacked)


def test_a_flipped_executable_bit_or_link_or_byte_changes_the_tree_id(rig: Repository, tmp_path: Path) -> None:
    tree = build.tree(rig, {"run": (build.PROGRAM, b"1"), "link": (build.LINK, b"run"), "data": b"1"})
    target = tmp_path / "source"
    assert unpacked_id(tar_of(rig, tree), target) == tree
    (target / "run").chmod(0o644)
    assert tree_source.tree_id(target) != tree
    (target / "run").chmod(0o755)
    assert tree_source.tree_id(target) == tree
    (target / "link").unlink()
    (target / "link").write_text("run")
    assert tree_source.tree_id(target) != tree


_NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=12).filter(
    lambda name: name not in {".", ".."} and name.lower() != ".git"
)
_ENTRIES = st.one_of(
    st.binary(max_size=600),
    st.tuples(st.just(build.PROGRAM), st.binary(max_size=20)),
    st.tuples(st.just(build.LINK), st.text("ab/.", min_size=1, max_size=20).map(str.encode)),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    folders=st.dictionaries(_NAMES, st.dictionaries(_NAMES, _ENTRIES, max_size=3), max_size=4),
    files=st.dictionaries(_NAMES, _ENTRIES, max_size=4),
)
def test_law_unpacking_gives_the_tree_that_was_packed(
    rig: Repository, tmp_path_factory: pytest.TempPathFactory, folders: dict[str, dict[str, build.Entry]], files: dict[str, build.Entry]
) -> None:
    content = {name: entry for name, entry in files.items() if name not in folders}
    content |= {f"{folder}/{name}": entry for folder, inside in folders.items() for name, entry in inside.items()}
    tree = build.tree(rig, content)
    assert unpacked_id(tar_of(rig, tree), tmp_path_factory.mktemp("law") / "source") == tree
