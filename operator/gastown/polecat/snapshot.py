"""Writes what lies in a worktree as git objects, without touching anything of the agent's. Called by `checkpoint` alone.

All of it happens in a copy of the agent's index: the copy still knows which files are unchanged since they were last read, so a large
tree costs a stat per file. Only new objects are written; index, HEAD, branches, stash and files stay as they are, byte for byte.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
from dataclasses import dataclass, field
from pathlib import Path

from gastown.polecat.checkpoint_record import BRANCH, MERGE, STASH, TIP, Kept
from gastown.polecat.git import Git, GitError

_GITLINK = b"160000"
_UNREADABLE_FOLDER = re.compile(rb"could not open directory '(.*?)': ", re.DOTALL)
# More parents than these would make a commit that tools choke on.
BESIDE_LIMIT = 16
_OPERATIONS = (
    ("merge", "MERGE_HEAD"), ("rebase", "rebase-merge"), ("rebase", "rebase-apply"), ("cherry-pick", "CHERRY_PICK_HEAD"),
    ("revert", "REVERT_HEAD"), ("bisect", "BISECT_LOG"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A worktree as it was.

    Attributes:
        base: Commit it is a change of: HEAD, or where that is unborn the session's branch.
        tree: All files but those left out.
        staged: Tree of the index where it differs from the base, else "".
        beside: Commits that nothing else keeps.
        left_out: Files that are too big or unreadable, and repositories of their own.
    """

    base: str
    tree: str
    staged: str = ""
    beside: tuple[Kept, ...] = ()
    under_way: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    @property
    def content(self) -> tuple[str, str, str, tuple[Kept, ...]]:
        """What has to change before the next checkpoint is worth a push."""
        return self.base, self.tree, self.staged, self.beside


@dataclass(slots=True)
class _Index:
    """The copy, and what was found out about the agent's own before it was changed."""

    path: Path
    staged: str = ""
    new_paths: list[bytes] = field(default_factory=list)
    too_big: list[bytes] = field(default_factory=list)


def take_snapshot(git: Git, folder: Path, branch: str, fallback: str, file_limit_bytes: int) -> Snapshot:
    """Write the worktree's content as objects.

    Args:
        folder: Empty, for the copy of the index.
        branch: Of the session, without refs/heads/.
        fallback: Base where neither HEAD nor the branch exists.

    Raises:
        GitError: Nothing was written but perhaps unreachable objects.
    """
    tip = git.find_commit(f"refs/heads/{branch}")
    base = git.find_commit("HEAD") or tip or fallback
    index = _copy_index(git, folder / "index", base, file_limit_bytes)
    paths, left_out = _changed_paths(git, index, file_limit_bytes)
    _update(git, index.path, paths)
    tree = git.run("write-tree", index=index.path).output.decode().strip()
    under_way = tuple(dict.fromkeys(name for name, file in _OPERATIONS if _git_path(git, file).exists()))
    beside = _beside(git, base, tip, branch)
    too_many = [os.fsencode(f"{kept.kind} {kept.name or kept.commit}") for kept in beside[BESIDE_LIMIT:]]
    return Snapshot(
        base=base,
        tree=tree,
        staged=index.staged,
        beside=tuple(beside[:BESIDE_LIMIT]),
        under_way=under_way,
        left_out=tuple(dict.fromkeys(os.fsdecode(path) for path in [*left_out, *index.too_big, *too_many])),
        ignored=_ignored(git, index.path),
    )


def _git_path(git: Git, name: str) -> Path:
    return Path(git.text("rev-parse", "--path-format=absolute", "--git-path", name))


def _copy_index(git: Git, path: Path, base: str, file_limit_bytes: int) -> _Index:
    index = _Index(path)
    try:
        # Git replaces an index by rename, so a copy is whole even while the agent holds the lock on it.
        shutil.copyfile(_git_path(git, "index"), path)
        _read_staged(git, index, base, file_limit_bytes)
        git.run("read-tree", "--reset", base, index=path)
    except (OSError, GitError):
        path.unlink(missing_ok=True)
        git.run("read-tree", base, index=path)
    return index


def _read_staged(git: Git, index: _Index, base: str, file_limit_bytes: int) -> None:
    if git.run("ls-files", "-z", "--unmerged", index=index.path).output:
        return  # no tree can hold it; the merge is begun anew by whoever goes on
    raw = git.run("diff-index", "--cached", "--raw", "-z", "--no-renames", "--ignore-submodules=dirty", base, index=index.path).output
    fields = raw.split(b"\0")[:-1]
    if not fields:
        return
    # Pairs of ":<old mode> <new mode> <old object> <new object> <letter>" and the path.
    changes = [(entry[1:].split(b" "), path) for entry, path in zip(fields[::2], fields[1::2], strict=True)]
    index.new_paths = [path for (_, mode, _, _, letter), path in changes if letter == b"A" and mode != _GITLINK]
    asked = [change for change in changes if change[0][1] not in (_GITLINK, b"000000")]
    sizes = git.run("cat-file", "--batch-check=%(objectsize)", given=b"".join(entry[3] + b"\n" for entry, _ in asked)).output.split(b"\n")
    too_big = [change for change, size in zip(asked, sizes, strict=False) if size.isdigit() and int(size) > file_limit_bytes]
    if too_big:
        index.too_big = [path for _, path in too_big]
        put_back = b"".join(mode + b" " + object_id + b"\t" + path + b"\0" for (mode, _, object_id, _, _), path in too_big)
        git.run("update-index", "-z", "--index-info", given=put_back, index=index.path)
    staged = git.run("write-tree", index=index.path).output.decode().strip()
    index.staged = "" if staged == git.text("rev-parse", f"{base}^{{tree}}") else staged


def _changed_paths(git: Git, index: _Index, file_limit_bytes: int) -> tuple[list[bytes], list[bytes]]:
    """Paths that differ from the base or are new and not ignored, and those of them that must stay out."""
    top = os.fsencode(git.folder) + b"/"
    listed = git.run("ls-files", "-z", "--modified", "--others", "--exclude-standard", "--full-name", index=index.path)
    paths: list[bytes] = []
    left_out = _UNREADABLE_FOLDER.findall(listed.error) + _filled_submodules(git, index.path, top)
    submodules = set(left_out)
    # An ignored file that is staged was added with force: the agent wants it.
    for path in dict.fromkeys([*listed.output.split(b"\0"), *(path for path in index.new_paths if os.path.lexists(top + path))]):
        if not path or path + b"/" in submodules:
            continue
        if path.endswith(b"/") or not _may_keep(top + path, file_limit_bytes):
            left_out.append(path)
        else:
            paths.append(path)
    return paths, left_out


def _filled_submodules(git: Git, index: Path, top: bytes) -> list[bytes]:
    entries = git.run("ls-files", "-z", "--stage", index=index).output.split(b"\0")
    links = [entry.partition(b"\t")[2] for entry in entries if entry.startswith(_GITLINK)]
    return [path + b"/" for path in links if os.path.lexists(top + path + b"/.git")]


def _may_keep(path: bytes, file_limit_bytes: int) -> bool:
    try:
        state = os.lstat(path)
    except OSError as error:
        return error.errno in (errno.ENOENT, errno.ENOTDIR)  # deleted: that is a change, too
    if stat.S_ISLNK(state.st_mode):
        return True
    if stat.S_ISDIR(state.st_mode):  # it replaced a file; or an empty submodule
        return not os.path.lexists(path + b"/.git")
    return stat.S_ISREG(state.st_mode) and state.st_size <= file_limit_bytes and os.access(path, os.R_OK)


def _update(git: Git, index: Path, paths: list[bytes]) -> None:
    top = os.fsencode(git.folder) + b"/"
    gone: list[bytes] = []
    there: list[bytes] = []
    links: dict[bytes, bool] = {}
    for path in paths:
        is_gone = not os.path.lexists(top + path) or (os.path.isdir(top + path) and not os.path.islink(top + path))  # noqa: PTH112, PTH114
        (gone if is_gone or _is_beyond_link(top, path, links) else there).append(path)
    if gone:
        # First, since a file may have taken the place of a folder or a link.
        lines = b"".join(b"0 " + b"0" * 40 + b"\t" + path + b"\0" for path in gone)
        git.run("update-index", "-z", "--index-info", given=lines, index=index)
    if there:
        # update-index and not `add`: a file that vanishes between listing and reading is no error here.
        given = b"".join(path + b"\0" for path in there)
        git.run("update-index", "--add", "--remove", "--replace", "-z", "--stdin", given=given, index=index)


def _is_beyond_link(top: bytes, path: bytes, links: dict[bytes, bool]) -> bool:
    """Whether a folder of the path is a symbolic link now: what seems to lie behind it is somewhere else, and kept by nobody."""
    folder = os.path.dirname(path)  # noqa: PTH120 - bytes: names need no encoding
    if not folder:
        return False
    if folder not in links:
        links[folder] = os.path.islink(top + folder) or _is_beyond_link(top, folder, links)  # noqa: PTH114
    return links[folder]


def _beside(git: Git, base: str, tip: str, branch: str) -> list[Kept]:
    """Commits that would be lost with this repository: a branch HEAD does not contain, stashes, what is being merged."""
    merging = _lines(_git_path(git, "MERGE_HEAD"))
    kept = [Kept(MERGE, commit) for commit in merging if git.find_commit(commit)]
    if tip and tip != base and not git.is_ancestor(tip, base):
        kept.append(Kept(TIP, tip, branch))
    others = git.text("for-each-ref", "--format=%(objectname) %(refname:lstrip=2)", f"--no-merged={base}", "refs/heads/")
    for line in others.splitlines():
        commit, _, name = line.partition(" ")
        if name != branch and git.find_commit(commit):
            kept.append(Kept(BRANCH, commit, name))
    for line in git.text("stash", "list", "--format=%H %gs").splitlines():
        commit, _, name = line.partition(" ")
        kept.append(Kept(STASH, commit, name))
    return kept


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def _ignored(git: Git, index: Path) -> tuple[str, ...]:
    arguments = ("ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory", "--no-empty-directory", "--full-name")
    names = git.run(*arguments, index=index).output.split(b"\0")
    return tuple(os.fsdecode(name) for name in names if name)
