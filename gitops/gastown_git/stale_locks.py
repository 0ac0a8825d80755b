"""Lock files, and what belongs to a lock, that a killed process left behind.

git and libgit2 lock a file by creating `<file>.lock`; a process killed in between leaves it for ever, and main could never move
again. A lock is held for milliseconds, so one that stands unchanged for `ABANDONED_SECONDS` has no owner. The age is measured by
watching it on the monotonic clock, not from its time stamp: after a laptop's sleep every lock looks hours old, its owner alive.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

ABANDONED_SECONDS = 8.0
"""A thousand times longer than a ref lock is held; short enough that a killed refinery's successor lands soon."""

LONG_ABANDONED_SECONDS = 300.0
"""For locks of the commit-graph: writing that of a large history takes a while, and nobody waits for it."""

PACKED_REFS_LOCK = "packed-refs.lock"
"""Held for each deletion of a ref, too."""

_LOOK_SECONDS = 0.05
_PACKED_REFS_DRAFT = "packed-refs.new"
_LONG_HELD = "objects/"


def wait_until_free(repository: Path, names: Iterable[str]) -> None:
    """Wait while others hold these locks, and remove those whose holder was killed; after a little longer than that takes it returns
    in any case. For callers that hand over to git, which gives up on a lock within a second.

    Args:
        repository: Path of the bare repository.
        names: Paths below it, such as `refs/heads/main.lock`.
    """
    watch, names = LockWatch(repository), list(names)
    deadline = time.monotonic() + ABANDONED_SECONDS + 1
    while any((repository / name).exists() for name in names) and time.monotonic() < deadline:
        watch.remove_abandoned(names)
        time.sleep(_LOOK_SECONDS)
    if PACKED_REFS_LOCK in names:
        watch.remove_draft_of_packed_refs()


class LockWatch:
    """Remembers since when each lock file of a repository stands unchanged.

    Args:
        repository: Path of the bare repository.
    """

    def __init__(self, repository: str | Path) -> None:
        self._repository = Path(repository)
        self._first_seen: dict[Path, tuple[tuple[int, int], float]] = {}

    def remove_abandoned(self, names: Iterable[str]) -> list[str]:
        """Look at some lock files and remove those that stood unchanged for too long.

        Args:
            names: Paths below the repository, such as `refs/heads/main.lock`.

        Returns:
            The names removed.
        """
        now = time.monotonic()
        removed = []
        for name in names:
            path = self._repository / name
            mark = _mark(path)
            if mark is None:
                self._first_seen.pop(path, None)
                continue
            seen_mark, since = self._first_seen.get(path, (mark, now))
            if seen_mark != mark:
                since = now  # another owner's lock under the same name
            self._first_seen[path] = (mark, since)
            patience = LONG_ABANDONED_SECONDS if name.startswith(_LONG_HELD) else ABANDONED_SECONDS
            if now - since >= patience and self._remove(path, mark):
                removed.append(name)
        return removed

    def sweep(self) -> list[str]:
        """Look at all lock files of refs, configuration and commit-graph; call it every minute or so.

        Returns:
            The names removed.
        """
        return [*self.remove_abandoned(list(self._all_locks())), *self.remove_draft_of_packed_refs()]

    def _all_locks(self) -> Iterator[str]:
        places = [self._repository / "refs", self._repository / "objects" / "info"]
        yield from (entry.name for entry in self._repository.glob("*.lock"))
        for place in places:
            for folder, _, files in os.walk(place):
                yield from (str((Path(folder) / file).relative_to(self._repository)) for file in files if file.endswith(".lock"))

    def remove_draft_of_packed_refs(self) -> list[str]:
        """Remove packed refs half written by a killed git, which would keep git from packing and deleting refs for ever.

        They are written to a file of a fixed name, under the lock of packed-refs. Whoever holds that lock may remove it: nobody else
        writes there, so no age is needed.
        """
        draft, lock = self._repository / _PACKED_REFS_DRAFT, self._repository / PACKED_REFS_LOCK
        if not draft.exists():
            return []
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        except FileExistsError:
            return []  # its writer lives, or the lock will be seen to be abandoned
        try:
            draft.unlink(missing_ok=True)
        finally:
            lock.unlink()
        return [_PACKED_REFS_DRAFT]

    def _remove(self, path: Path, mark: tuple[int, int]) -> bool:
        # one remover at a time: two could both see the old lock, and the slower one would remove a fresh lock of that name
        with (self._repository / "gastown-lock-removal").open("a") as guard, contextlib.suppress(FileNotFoundError):
            fcntl.flock(guard, fcntl.LOCK_EX)
            if _mark(path) == mark:
                path.unlink()
                return True
        return False


def _mark(path: Path) -> tuple[int, int] | None:
    """What tells one lock file from a later one under the same name."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_ino, status.st_mtime_ns
