"""What a checkpoint says about itself in its commit message, for people and for the session that goes on from it. Pure.

A checkpoint is a commit of the whole worktree. What a tree can not hold is told here: which files are not in it and why, which other
commits ride along as further parents (staged content, stashes, branches), and what git was in the middle of.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

TRAILER = "Gastown-Checkpoint"
_KEPT = "Gastown-Kept"
_UNDER_WAY = "Gastown-Under-Way"
_LEFT_OUT = "Gastown-Left-Out"
_IGNORED = "Gastown-Ignored"
_MORE = "-And-More"
# A commit message is no inventory: the first names and a count tell what kind of thing is missing.
NAMED_LIMIT = 50
NAME_CHARACTERS = 300

INDEX = "index"
TIP = "tip"
BRANCH = "branch"
STASH = "stash"
MERGE = "merge"
_KINDS = (INDEX, TIP, BRANCH, STASH, MERGE)


@dataclass(frozen=True, slots=True)
class Kept:
    """A commit that rides along as a further parent of the checkpoint.

    Attributes:
        kind: INDEX (a commit of what was staged), TIP (the session's branch, where HEAD does not contain it), BRANCH (another branch of
            the agent), STASH, MERGE (what was being merged).
        commit: 40 hex digits.
        name: Branch name or stash message.
    """

    kind: str
    commit: str
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The words of a checkpoint.

    Attributes:
        under_way: Operations of git that were not finished: merge, rebase, cherry-pick, revert, bisect.
        left_out: Files over the size limit, unreadable ones, and repositories of their own; at most NAMED_LIMIT.
        ignored: Ignored files and folders.
        left_out_more, ignored_more: How many further ones are not named.
    """

    agent: str
    bead: str
    kept: tuple[Kept, ...] = ()
    under_way: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    left_out_more: int = 0
    ignored: tuple[str, ...] = ()
    ignored_more: int = 0

    def find(self, kind: str) -> str:
        """The first commit kept of a kind, or ""."""
        return next((kept.commit for kept in self.kept if kept.kind == kind), "")


def bounded(names: Iterable[str]) -> tuple[tuple[str, ...], int]:
    """The names a message may hold, and how many more there are."""
    everything = list(names)
    return tuple(name[:NAME_CHARACTERS] for name in everything[:NAMED_LIMIT]), max(0, len(everything) - NAMED_LIMIT)


def to_message(record: Record, session_number: int, file_limit_bytes: int) -> str:
    """The commit message; every value that others wrote is JSON, so that no name can look like a line of ours.

    Args:
        session_number: 0 where it is not known.
    """
    lines = [f"Checkpoint of {record.bead}" + (f" in session {session_number}" if session_number else ""), ""]
    if record.left_out:
        lines += [f"Left out are files over {file_limit_bytes} bytes, unreadable ones, and repositories of their own; see below.", ""]
    lines.append(f"{TRAILER}: {record.agent}/{record.bead}")
    lines += [f"{_KEPT}: {kept.kind} {kept.commit} {_quote(kept.name)}" for kept in record.kept]
    lines += [f"{_UNDER_WAY}: {operation}" for operation in record.under_way]
    for trailer, names, more in (
        (_LEFT_OUT, record.left_out, record.left_out_more),
        (_IGNORED, record.ignored, record.ignored_more),
    ):
        lines += [f"{trailer}: {_quote(name)}" for name in names]
        lines += [f"{trailer}{_MORE}: {more}"] if more else []
    return "\n".join(lines) + "\n"


def from_message(message: str) -> Record | None:
    """What `to_message` wrote; None if the commit is no checkpoint. A line that is not of our form is passed over."""
    lines = message.rstrip("\n").rpartition("\n\n")[2].split("\n")
    pairs = [(name, value) for name, separator, value in (line.partition(": ") for line in lines) if separator]
    agent, slash, bead = next((value for name, value in pairs if name == TRAILER), "").rpartition("/")
    if not slash:
        return None
    return Record(
        agent=agent,
        bead=bead,
        kept=tuple(kept for name, value in pairs if name == _KEPT and (kept := _kept(value)) is not None),
        under_way=tuple(value for name, value in pairs if name == _UNDER_WAY),
        left_out=_names(pairs, _LEFT_OUT),
        left_out_more=_count(pairs, _LEFT_OUT),
        ignored=_names(pairs, _IGNORED),
        ignored_more=_count(pairs, _IGNORED),
    )


def notes_for_agent(record: Record, checkpoint: str) -> list[str]:
    """What the agent that goes on from a checkpoint has to know, a sentence each."""
    short = checkpoint[:12]
    notes = []
    if record.find(TIP):
        during = f" ({', '.join(record.under_way)} was under way)" if record.under_way else ""
        notes.append(
            f"The earlier session stopped with HEAD apart from its branch{during}. You are on the branch; what lay in its worktree is "
            f"commit {short}: see `git show {short}`, and take what you need by `git restore --source={short} PATH`."
        )
    elif "merge" in record.under_way:
        notes.append("A merge was under way and is again: finish it (`git status`), and look for conflict markers first.")
    elif record.under_way:
        notes.append(f"Not finished in the earlier session, and not taken up again: {', '.join(record.under_way)}.")
    branches = [kept.name for kept in record.kept if kept.kind == BRANCH]
    if branches:
        notes.append(f"Branches of the earlier session are here again: {_listed(branches, 0)}.")
    if any(kept.kind == STASH for kept in record.kept):
        notes.append("Its stash is here again: `git stash list`.")
    if record.left_out:
        names = _listed(record.left_out, record.left_out_more)
        notes.append(f"Not kept, and so lost (too big, unreadable, no plain file, or a repository of its own): {names}.")
    if record.ignored:
        notes.append(f"Ignored files are not kept; there were: {_listed(record.ignored, record.ignored_more)}.")
    return notes


def _listed(names: Sequence[str], more: int, limit: int = 20) -> str:
    hidden = more + max(0, len(names) - limit)
    return ", ".join(names[:limit]) + (f" and {hidden} more" if hidden else "")


def _quote(name: str) -> str:
    return json.dumps(name)


def _kept(value: str) -> Kept | None:
    kind, _, rest = value.partition(" ")
    commit, _, name = rest.partition(" ")
    return Kept(kind, commit, _unquote(name)) if kind in _KINDS and len(commit) == 40 else None


def _names(pairs: list[tuple[str, str]], trailer: str) -> tuple[str, ...]:
    return tuple(text for name, value in pairs if name == trailer and (text := _unquote(value)))


def _count(pairs: list[tuple[str, str]], trailer: str) -> int:
    value = next((value for name, value in pairs if name == trailer + _MORE), "")
    return int(value) if value.isdecimal() and len(value) < 10 else 0


def _unquote(value: str) -> str:
    try:
        text = json.loads(value)
    except (ValueError, RecursionError):
        return ""
    return text if isinstance(text, str) else ""
