"""No pushed commit is lost: before a push may rewrite or delete a ref, its old tip is kept under `refs/keep/<commit>`.

Whether a push rewrites can not be known before its objects are here, so the old tip of every moved ref is kept first, and let go
when the new tip turns out to contain it. Killed in between, a keep too many is left: harmless. Blocking; called in threads.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from gastown_git.ref_names import ObjectId, keep_ref
from gastown_git.refs import ObjectMissing, RefMoved
from gastown_git.repository import Repository
from gastown_git.server.access import RefUpdate


def keep_old_tips(path: Path, updates: Sequence[RefUpdate]) -> list[ObjectId]:
    """Keep what the refs of a push point to now.

    Args:
        path: The repository.
        updates: Commands of the push, all allowed.

    Returns:
        The commits this call kept anew.

    Raises:
        GitopsError: A tip can not be kept; the push must be refused.
    """
    repository = Repository.open(path)
    moved = {update.old for update in updates if not update.is_creation}
    # a tip that is not here is a wrong claim, which git itself refuses
    return [tip for tip in sorted(moved) if repository.exists(tip) and repository.keep(tip)]


def release_contained_tips(path: Path, updates: Sequence[RefUpdate], kept: Sequence[ObjectId]) -> None:
    """Let go of the kept tips that their refs contain and have left behind, as after every ordinary push.

    Safe against a rewrite at the same moment: that push keeps the ref's present tip before it moves the ref, and the present tip
    contains this one. Where the ref still stands at the kept tip (git refused the push) nothing is let go: a deletion at the same
    moment may have found the tip kept, and count on it.

    Args:
        path: The repository.
        updates: Commands of the push, now carried out or refused by git.
        kept: What `keep_old_tips` gave.
    """
    repository = Repository.open(path)
    for update in updates:
        tip = repository.refs.find(update.ref)
        if tip == update.old or update.old not in kept:
            continue
        with contextlib.suppress(RefMoved, ObjectMissing):
            if tip is not None and repository.is_ancestor(update.old, tip):
                repository.refs.delete(keep_ref(update.old), expected=update.old)
