"""Could a gate unpack what a head changes? Looked at before the head is taken in, so that the answer goes to whoever pushed it.

git stores what no disk can hold: names of any length, folders in each other without end, links to nothing, modes of its own. fsck
lets these pass. A gate could not unpack such a tree, and its error would hold the request without a word to its author; on main it
would break every later session. Only what the head changes is looked at: what came from the upstream is not its author's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gastown_git.raw_tree import FOLDER_MODE, LINK_MODE, SUBMODULE_MODE, entries, kind_of
from gastown_git.ref_names import ObjectId
from gastown_git.repository import Repository

_ORDINARY_MODES = frozenset({b"100644", b"100755", b"120000", b"40000", b"160000"})
_SHOWN_BYTES = 200


@dataclass(frozen=True)
class HeadLimits:
    """What the changes of one head may bring.

    Attributes:
        name_bytes: Of one file or folder; what file systems allow.
        path_bytes: With the folders; PATH_MAX less the place of a worktree.
        depth: Folders in each other.
        link_bytes: Of the name a symbolic link holds.
        file_bytes: Of one file; the repo-server holds one in memory to send it.
        total_bytes: Of all changed files, unpacked: a small pack may hold a huge tree.
        entries: Changed files and folders: one folder named ten times in each of ten is ten thousand million paths in ten small objects.
    """

    name_bytes: int = 255
    path_bytes: int = 3_500
    depth: int = 200
    link_bytes: int = 4_095
    file_bytes: int = 100 << 20
    total_bytes: int = 1 << 30
    entries: int = 200_000


def find_problem(repository: Repository, base: ObjectId | None, head: ObjectId, limits: HeadLimits) -> str:
    """Tell what of a head's changes could not be unpacked.

    Args:
        repository: Where both commits are.
        base: Commit the changes are counted from; None counts every file of the head.
        head: Tip of the work.
        limits: What is allowed.

    Returns:
        Path and problem, with names as git has them (bytes that are not UTF-8 as surrogate escapes); "" if there is none.

    Raises:
        ObjectMissing: One of the commits, or something below the head, is not in the repository.
    """
    total = 0
    changes = _changes(repository, repository.tree_of(base) if base else None, repository.tree_of(head))
    for number, (path, mode, object_id) in enumerate(changes, start=1):
        if number > limits.entries:
            return f"the changes have more than {limits.entries} files and folders"
        if problem := _unfit_name(path, limits):
            return f"{_shown(path)} has {problem}"
        if mode not in _ORDINARY_MODES:
            return f"{_shown(path)} has the mode {mode.decode('ascii', 'replace')}, which git itself never writes"
        kind = kind_of(mode)
        if kind in (FOLDER_MODE, SUBMODULE_MODE):
            continue
        size = repository.size(object_id)
        if kind == LINK_MODE and (problem := _unfit_link(repository, object_id, size, limits)):
            return f"{_shown(path)} is a link to {problem}"
        if size > limits.file_bytes:
            return f"{_shown(path)} has {size} bytes; a file may have {limits.file_bytes}"
        total += size
        if total > limits.total_bytes:
            return f"the changed files have more than {limits.total_bytes} bytes together"
    return ""


def _changes(repository: Repository, old: ObjectId | None, new: ObjectId) -> Iterator[tuple[bytes, bytes, ObjectId]]:
    """(path, mode, id) of what is new or changed, folders before what is in them; without recursion, since they may nest without end."""
    pending = [(b"", old, new)]
    while pending:
        prefix, before, after = pending.pop()
        known = {name: (mode, object_id) for mode, name, object_id in entries(repository.read(before))} if before else {}
        for mode, name, object_id in entries(repository.read(after)):
            was_mode, was_id = known.get(name, (b"0", None))
            if (was_mode, was_id) == (mode, object_id):
                continue
            yield prefix + name, mode, object_id
            if kind_of(mode) == FOLDER_MODE:
                pending.append((prefix + name + b"/", was_id if kind_of(was_mode) == FOLDER_MODE else None, object_id))


def _unfit_name(path: bytes, limits: HeadLimits) -> str:
    name = path.rpartition(b"/")[2]
    if len(name) > limits.name_bytes:
        return f"a name of {len(name)} bytes; a name may have {limits.name_bytes}"
    if len(path) > limits.path_bytes:
        return f"a path of {len(path)} bytes; a path may have {limits.path_bytes}"
    return f"more than {limits.depth} folders in each other" if path.count(b"/") > limits.depth else ""


def _unfit_link(repository: Repository, object_id: ObjectId, size: int, limits: HeadLimits) -> str:
    if not 0 < size <= limits.link_bytes:
        return f"{size} bytes; a link holds a name of 1 to {limits.link_bytes}"
    return "a name with a NUL, which no link can hold" if b"\0" in repository.read(object_id) else ""


def _shown(path: bytes) -> str:
    text = path.decode("utf-8", "surrogateescape")
    return text if len(text) <= _SHOWN_BYTES else f"{text[:_SHOWN_BYTES]}..."
