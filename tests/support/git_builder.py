"""Builds small git repositories for tests: commits from dictionaries of files, without a worktree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pygit2

from gastown_git.ref_names import ObjectId
from gastown_git.refinery import kernel
from gastown_git.repository import Author, Repository

NOON = 1_700_000_000
"""Any fixed moment; commits of tests never read the clock."""

REFINERY = Author("refinery", "refinery@test.invalid", NOON)

FILE = 0o100644
PROGRAM = 0o100755
LINK = 0o120000
FOLDER = 0o040000
SUBMODULE = 0o160000

Entry = bytes | tuple[int, bytes | ObjectId]
"""Content of a file, or (mode, content); for submodules (SUBMODULE, commit id)."""


def author(name: str = "furiosa", time: int = NOON) -> Author:
    """An author with an address of ours."""
    return Author(name, f"{name}@test.invalid", time)


def repository(path: Path, files: Mapping[str, Entry] | None = None) -> Repository:
    """A bare repository whose main is adopted at one commit with these files."""
    created = Repository.create(path)
    kernel.adopt(created, "main", commit(created, files or {"README": b"hello\n"}))
    return created


def commit(
    target: Repository,
    files: Mapping[str, Entry],
    parents: Sequence[ObjectId] = (),
    *,
    message: str = "Change",
    time: int = NOON,
) -> ObjectId:
    """A commit that no ref points to, with exactly these files."""
    return target.write_commit(tree=tree(target, files), parents=parents, author=author(time=time), message=message)


def change(
    target: Repository, parent: ObjectId, files: Mapping[str, Entry | None], *, message: str = "Change", time: int = NOON
) -> ObjectId:
    """A commit on a parent that adds, replaces or (with None) removes files."""
    present: dict[str, Entry] = dict(read_files(target, target.tree_of(parent)))
    for path, entry in files.items():
        if entry is None:
            del present[path]
        else:
            present[path] = entry
    return commit(target, present, [parent], message=message, time=time)


def tree(target: Repository, files: Mapping[str, Entry]) -> ObjectId:
    """Store a tree of files given by path, bytes that are not UTF-8 as surrogate escapes."""
    git = pygit2.Repository(str(target.path))
    folders: dict[str, dict[str, Entry]] = {}
    found: list[tuple[bytes, int, str]] = []
    for path, entry in files.items():
        first, _, rest = path.partition("/")
        if rest:
            folders.setdefault(first, {})[rest] = entry
            continue
        mode, content = (FILE, entry) if isinstance(entry, bytes) else entry
        found.append((_bytes(first), mode, content if isinstance(content, str) else str(git.create_blob(content))))
    found += [(_bytes(name), FOLDER, tree(target, below)) for name, below in folders.items()]
    # As git sorts: a folder as if its name ended in a slash. libgit2's own builder takes no names but UTF-8.
    found.sort(key=lambda entry: entry[0] + (b"/" if entry[1] == FOLDER else b""))
    raw = b"".join(b"%o %s\0%s" % (mode, name, bytes.fromhex(object_id)) for name, mode, object_id in found)
    return str(git.write(pygit2.enums.ObjectType.TREE, raw))


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def read_files(target: Repository, tree_id: ObjectId, prefix: str = "") -> dict[str, tuple[int, bytes | ObjectId]]:
    """All files of a tree as path -> (mode, content)."""
    git = pygit2.Repository(str(target.path))
    found: dict[str, tuple[int, bytes | ObjectId]] = {}
    folder = git[tree_id]
    assert isinstance(folder, pygit2.Tree)
    for entry in folder:
        assert entry.raw_name is not None
        path = prefix + entry.raw_name.decode("utf-8", "surrogateescape")
        mode = int(entry.filemode)
        if mode == FOLDER:
            found |= read_files(target, str(entry.id), f"{path}/")
        elif mode == SUBMODULE:
            found[path] = (mode, str(entry.id))
        else:
            found[path] = (mode, git[entry.id].data)  # type: ignore[attr-defined]
    return found


def main_of(target: Repository) -> ObjectId:
    """Tip of main."""
    tip = target.refs.find("refs/heads/main")
    assert tip is not None
    return tip
