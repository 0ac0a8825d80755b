"""Deletes folders that strangers filled. `shutil.rmtree` of Python 3.11 is recursive: 1,000 folders in each other, which any agent can
make, end it with RecursionError, and paths beyond PATH_MAX can not even be named. Used by the process node and by sessions.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
from pathlib import Path

# Deeper folders are moved up before they are emptied, so that no path grows without end.
_FLAT = 8


def remove_tree(path: Path) -> None:
    """Delete a folder with all that is in it, also where a program took away its own write permission (module caches do).

    Never raises: what can not be deleted stays. Links are not followed, nor is `path` if it is one.
    """
    if path.is_symlink():
        return
    root = os.fspath(path)
    mark, numbers = f".removed-{secrets.token_hex(8)}-", itertools.count()
    pending, emptied = [(root, 0)], []
    while pending:
        folder, depth = pending.pop()
        emptied.append(folder)
        for below in _clear(folder):
            if depth < _FLAT:
                pending.append((below, depth + 1))
                continue
            aside = os.path.join(root, f"{mark}{next(numbers)}")  # noqa: PTH118 - pathlib is several times slower, and these may be many
            with contextlib.suppress(OSError):
                os.rename(below, aside)  # noqa: PTH104
                pending.append((aside, 1))
    for folder in reversed(emptied):
        with contextlib.suppress(OSError):
            os.rmdir(folder)  # noqa: PTH106


def _clear(folder: str) -> list[str]:
    """Delete the files of a folder and give its folders, each writable for us."""
    folders = []
    with contextlib.suppress(OSError):
        os.chmod(folder, 0o700)  # noqa: PTH101
        with os.scandir(folder) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    else:
                        os.unlink(entry.path)  # noqa: PTH108
    for below in folders:
        with contextlib.suppress(OSError):
            os.chmod(below, 0o700)  # noqa: PTH101 - a folder can only be moved by who may write into it
    return folders
