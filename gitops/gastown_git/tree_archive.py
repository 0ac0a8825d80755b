"""Writes one git tree as a tar, walking the tree objects themselves.

Never `git archive`: it obeys `.gitattributes` of the tree, and `export-ignore` would let a commit drop its own tests. The archive is
deterministic (no owner, no time, git's order), and exact: gastown/polecat/tree_source.py recomputes the tree id from what it
unpacked. What a file system can not hold travels in extended headers: a submodule's commit, and a mode that old tools wrote oddly.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator

from gastown_git.raw_tree import FOLDER_MODE, LINK_MODE, SUBMODULE_MODE, entries, kind_of
from gastown_git.ref_names import ObjectId
from gastown_git.repository import Repository

MODE_HEADER = "GASTOWN.mode"
"""Extended header with an entry's raw mode in octal, where the kind of the entry alone does not tell it."""

SUBMODULE_HEADER = "GASTOWN.submodule"
"""Extended header with the commit id of a submodule, which the archive holds as an empty folder."""

_CHUNK_BYTES = 1 << 20
_END_OF_ARCHIVE = b"\0" * tarfile.BLOCKSIZE * 2
_PLAIN_MODES = {b"100644": 0o644, b"100755": 0o755, b"120000": 0o777, b"40000": 0o755, b"160000": 0o755}


def iterate_tar(repository: Repository, tree: ObjectId) -> Iterator[bytes]:
    """Write a tree as a tar archive, piece by piece.

    Args:
        repository: Where the tree is.
        tree: Id of a tree, not of a commit.

    Yields:
        Pieces of at most about 1 MiB; one file's content is in memory at a time.

    Raises:
        ObjectMissing: The tree, or something below it, is not in the repository; the archive so far has no end mark.
    """
    yield from _walk(repository, tree)
    yield _END_OF_ARCHIVE


def _walk(repository: Repository, tree: ObjectId) -> Iterator[bytes]:
    """Depth first, in git's order; without recursion, since folders may be nested without end."""
    open_folders = [(b"", entries(repository.read(tree)))]
    while open_folders:
        prefix, rest = open_folders[-1]
        entry = next(rest, None)
        if entry is None:
            open_folders.pop()
            continue
        mode, name, object_id = entry
        path, kind = prefix + name, kind_of(mode)
        if kind == FOLDER_MODE:
            yield _header(path, mode, tarfile.DIRTYPE)
            open_folders.append((path + b"/", entries(repository.read(object_id))))
        elif kind == SUBMODULE_MODE:
            yield _header(path, mode, tarfile.DIRTYPE, {SUBMODULE_HEADER: object_id})
        elif kind == LINK_MODE:
            yield _header(path, mode, tarfile.SYMTYPE, link=repository.read(object_id))
        else:
            content = repository.read(object_id)
            yield _header(path, mode, tarfile.REGTYPE, size=len(content))
            for start in range(0, len(content), _CHUNK_BYTES):
                yield content[start : start + _CHUNK_BYTES]
            yield b"\0" * (-len(content) % tarfile.BLOCKSIZE)


def _header(path: bytes, mode: bytes, kind: bytes, extended: dict[str, str] | None = None, *, size: int = 0, link: bytes = b"") -> bytes:
    entry = tarfile.TarInfo(path.decode("utf-8", "surrogateescape"))
    entry.type, entry.size, entry.linkname = kind, size, link.decode("utf-8", "surrogateescape")
    entry.mode = _PLAIN_MODES.get(mode, 0o755 if int(mode, 8) & 0o100 else 0o644)
    entry.pax_headers = dict(extended or {})
    if mode not in _PLAIN_MODES:
        entry.pax_headers[MODE_HEADER] = mode.decode("ascii")
    return entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
