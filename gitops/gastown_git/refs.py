"""Refs of one bare repository, moved by compare-and-swap and nothing else.

libgit2 takes a ref's lock file once and gives up at once when another process holds it, where git waits; so every write here
is retried with jitter. After each refusal the ref is read again: a changed value is the answer `RefMoved`, an unchanged one
means that only the lock was in the way. `create_reference(force=True)` is banned (it loses updates silently), and so is its
form without force: that checks before it locks, so of two creators both can win.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import pygit2

from gastown_git import ref_names
from gastown_git.errors import GitopsError
from gastown_git.ref_names import ObjectId
from gastown_git.stale_locks import LockWatch

LOCK_PATIENCE_SECONDS = 12.0
"""How long one write is retried; longer than the age at which an abandoned lock file is removed (`stale_locks`)."""

_FIRST_PAUSE_SECONDS = 0.001
_LONGEST_PAUSE_SECONDS = 0.05


class RefMoved(GitopsError):
    """The ref does not have the value the caller expected; nothing was written. Look again and decide anew."""

    def __init__(self, ref: str, expected: ObjectId | None, found: ObjectId | None) -> None:
        super().__init__(
            ref, f"expected {expected or 'no such ref'}, found {found or 'no such ref'}", remedy="read it again and decide anew"
        )
        self.found = found


class RefLocked(GitopsError):
    """Other writers held the ref's lock for too long, or its name collides with another ref; try again later."""


class ProtectedRef(GitopsError):
    """The ref is a branch that only the refinery's kernel may move; a defect of the caller."""


class ObjectMissing(GitopsError):
    """The repository has no such object; fetch or push it first."""


class RefStore:
    """The refs of one repository. Every method that writes says which value it replaces.

    Args:
        git: The opened repository.
    """

    def __init__(self, git: pygit2.Repository) -> None:
        self._git = git
        self._locks = LockWatch(git.path)

    def find(self, name: str) -> ObjectId | None:
        """Read a ref: the id it points to, or None when there is no such ref."""
        reference = self._git.references.get(name)
        return None if reference is None else str(reference.resolve().target)

    def find_all(self, prefix: str) -> dict[str, ObjectId]:
        """Read all refs whose full name starts with the prefix."""
        found: dict[str, ObjectId] = {}
        for name in self._git.references:
            # a ref may go between the listing and the look: then it is simply not there
            if name.startswith(prefix) and (target := self.find(name)) is not None:
                found[name] = target
        return found

    def create(self, name: str, target: ObjectId) -> bool:
        """Create a ref, or find that it already points there.

        Returns:
            True when this call created it, False when it was there with the same value.

        Raises:
            RefMoved: It exists with another value.
            RefLocked, ProtectedRef, ObjectMissing: see there.
        """
        self._refuse_protected(name)
        return self._create(name, target)

    def update(self, name: str, *, new: ObjectId, expected: ObjectId) -> None:
        """Move a ref from the expected value to a new one.

        Raises:
            RefMoved: It has another value or is gone; nothing changed.
            RefLocked, ProtectedRef, ObjectMissing: see there.
        """
        self._refuse_protected(name)
        self._update(name, new, expected)

    def delete(self, name: str, *, expected: ObjectId) -> None:
        """Delete a ref if it still has the expected value.

        Raises:
            RefMoved: It has another value or is gone; nothing changed.
            RefLocked, ProtectedRef: see there.
        """
        self._refuse_protected(name)

        def attempt() -> None:
            reference = self._git.references.get(name)
            if reference is None or str(reference.target) != expected:
                raise RefMoved(name, expected, None if reference is None else str(reference.target))
            reference.delete()  # libgit2 compares with the value read above, under the lock

        self._swap(name, expected, attempt)

    def move_protected_branch(self, name: str, *, new: ObjectId, expected: ObjectId | None) -> None:
        """Move (or, with expected None, create) a branch that agents may not write. For refinery/kernel.py only: a test greps.

        Raises:
            RefMoved: It has another value; nothing changed.
            RefLocked, ObjectMissing: see there.
        """
        if expected is not None:
            self._update(name, new, expected)
        elif not self._create(name, new):
            raise RefMoved(name, None, new)

    def _create(self, name: str, target: ObjectId) -> bool:
        self._require_object(name, target)
        created = False

        def attempt() -> None:
            nonlocal created
            with self._git.transaction() as transaction:
                transaction.lock_ref(name)
                found = self.find(name)
                if found is None:
                    transaction.set_target(name, pygit2.Oid(hex=target))
                elif found != target:
                    raise RefMoved(name, None, found)
            created = found is None

        self._swap(name, None, attempt)
        return created

    def _update(self, name: str, new: ObjectId, expected: ObjectId) -> None:
        self._require_object(name, new)

        def attempt() -> None:
            reference = self._git.references.get(name)
            if reference is None or str(reference.target) != expected:
                raise RefMoved(name, expected, None if reference is None else str(reference.target))
            reference.set_target(new)  # libgit2 compares with the value read above, under the lock

        self._swap(name, expected, attempt)

    def _swap(self, name: str, expected: ObjectId | None, attempt: Callable[[], None]) -> None:
        deadline = time.monotonic() + LOCK_PATIENCE_SECONDS
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                return attempt()
            except (pygit2.GitError, OSError) as error:
                # KeyError and ValueError forms of GitError included: a neighbour's create and delete make folders vanish
                found = self.find(name)
                if found != expected:
                    raise RefMoved(name, expected, found) from error
                if time.monotonic() > deadline:
                    raise RefLocked(
                        name, f"could not be written for {LOCK_PATIENCE_SECONDS:g} s: {error}", remedy="try again later"
                    ) from error
            self._locks.remove_abandoned([f"{name}.lock", "packed-refs.lock"])
            time.sleep(random.uniform(0.5, 1.0) * pause)  # noqa: S311 - jitter, not a secret
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def _refuse_protected(self, name: str) -> None:
        if ref_names.is_protected(name):
            raise ProtectedRef(name, "only the refinery moves this branch", remedy="land a candidate with refinery.kernel.land")

    def _require_object(self, name: str, target: ObjectId) -> None:
        if not ref_names.is_object_id(target) or target not in self._git:
            raise ObjectMissing(name, f"its new target {target!r} is not in the repository", remedy="store or fetch the object first")
