"""Git's own binary form of a tree, read byte by byte: libgit2's reader would polish odd modes and decode names."""

from __future__ import annotations

from collections.abc import Iterator

from gastown_git.ref_names import ObjectId
from gastown_git.repository import Repository

FOLDER_MODE = 0o040000
FILE_MODE = 0o100000
LINK_MODE = 0o120000
SUBMODULE_MODE = 0o160000
_KIND = 0o170000


def entries(raw: bytes) -> Iterator[tuple[bytes, bytes, ObjectId]]:
    """Split a tree into (mode, name, id), the mode as the octal digits it is stored in."""
    position = 0
    while position < len(raw):
        blank = raw.index(b" ", position)
        end = raw.index(b"\0", blank)
        yield raw[position:blank], raw[blank + 1 : end], raw[end + 1 : end + 21].hex()
        position = end + 21


def kind_of(mode: bytes) -> int:
    """One of the above, or what only odd tools write; without the permissions."""
    return int(mode, 8) & _KIND


def find_file(repository: Repository, tree: ObjectId, path: bytes) -> ObjectId | None:
    """The blob of a regular file; None when the tree has none at that path.

    Args:
        path: As git has it: bytes of any encoding, parts joined by slashes.

    Raises:
        ObjectMissing: A tree on the way is not in the repository.
    """
    *folders, last = path.split(b"/")
    for wanted, kind in (*((folder, FOLDER_MODE) for folder in folders), (last, FILE_MODE)):
        found = next((entry for mode, name, entry in entries(repository.read(tree)) if name == wanted and kind_of(mode) == kind), None)
        if found is None:
            return None
        tree = found
    return tree
