"""Keeps work that is not committed: a commit of everything in the worktree, pushed to the agent's own ref.

The agent notices nothing: `snapshot` works in a copy of the index, so its index, HEAD, branches and stash stay as they are, byte for
byte, wherever the checkpoint is killed. The first parent is the HEAD of then, which keeps commits that were not pushed yet, too; what
else would be lost (staged content, stashes, other branches) rides along as further parents, told in the message (`checkpoint_record`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from gastown.polecat.checkpoint_record import INDEX, Kept, Record, bounded, from_message, notes_for_agent, to_message
from gastown.polecat.git import Git, GitError
from gastown.polecat.session import Session
from gastown.polecat.snapshot import Snapshot, take_snapshot

# A build product or core dump must not fill the repository; what is bigger is named in the commit instead.
FILE_LIMIT_BYTES = 10 * 1024 * 1024
PUSH_SECONDS = 60.0
# For all that is done before the push: a tree too large for it must not hold up the watch over the agent.
LOCAL_SECONDS = 120.0
# Git holds the lock of a ref for milliseconds: an older one was left by a git that was killed, and would stop every later checkpoint.
STALE_LOCK_SECONDS = 10.0
_FOLDER = "checkpoint-"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Work that is kept on the server.

    Attributes:
        commit: A commit made here, or HEAD itself when all was committed; "" when there is nothing beyond what the server had.
        left_out: Files that are too big or unreadable, or folders that are repositories of their own.
    """

    commit: str = ""
    left_out: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Checkpointer:
    """Makes the checkpoints of one session and remembers the last one it pushed."""

    session: Session
    git: Git
    file_limit_bytes: int = FILE_LIMIT_BYTES
    push_seconds: float = PUSH_SECONDS
    local_seconds: float = LOCAL_SECONDS
    stale_lock_seconds: float = STALE_LOCK_SECONDS
    pushed: str = ""
    _made: str = ""
    _made_of: tuple[object, ...] = ()

    def take(self) -> Checkpoint:
        """Keep what is there now, unless that is kept already.

        Raises:
            GitError: Not kept on the server: git failed or the server did not take it. Nothing of the agent's has changed; a commit
                that could be made stays under the same ref of this repository, and the next call pushes it.
            OSError: No room or no right for a temporary folder.
            Interrupted: The session stops (only with a `Git` that looks out for it).
        """
        git = replace(self.git, ends=time.monotonic() + self.local_seconds)
        start = git.text("config", "--get", "gastown.start", allow=(0, 1))
        with _own_folder(self.session) as folder:
            seen = take_snapshot(git, folder, self.session.branch, start, self.file_limit_bytes)
        made_of = (seen.content, seen.left_out)
        if made_of != self._made_of:
            self._made, self._made_of = self._make(git, seen), made_of
        if self._made and self._made != self.pushed:
            self._push(self._made)
            self.pushed = self._made
        return Checkpoint(self._made, list(map(_readable, seen.left_out)))

    def _make(self, git: Git, seen: Snapshot) -> str:
        """The commit that holds it: HEAD itself where that is all, "" where the server has that."""
        # All that is known of the bead: a checkpoint is dated after it, whatever our own clock says, so that the newest is the last one
        # also where the clocks of nodes differ.
        bead = self.session.bead
        newest = newest_time(git, f"refs/agents/*/wip/{bead}", f"refs/remotes/origin/polecat/*/{bead}")
        is_all = not seen.beside and not seen.staged and not seen.left_out and seen.tree == git.text("rev-parse", f"{seen.base}^{{tree}}")
        # HEAD must not stand behind an older checkpoint whose content the agent has since thrown away.
        if is_all and commit_time(git, seen.base) >= newest:
            return "" if self._is_on_server(git, seen.base) else seen.base
        made = _identified(git, self.session, max(int(time.time()), newest + 1, commit_time(git, seen.base)))
        kept = list(seen.beside)
        if seen.staged:
            kept.insert(0, Kept(INDEX, _commit(made, seen.staged, [seen.base], f"Staged for {bead}\n")))
        left_out, left_out_more = bounded(seen.left_out)
        ignored, ignored_more = bounded(seen.ignored)
        record = Record(
            agent=self.session.agent,
            bead=bead,
            kept=tuple(kept),
            under_way=seen.under_way,
            left_out=left_out,
            left_out_more=left_out_more,
            ignored=ignored,
            ignored_more=ignored_more,
        )
        message = to_message(record, self.session.number, self.file_limit_bytes)
        return _commit(made, seen.tree, [seen.base, *dict.fromkeys(part.commit for part in kept)], message)

    def _is_on_server(self, git: Git, head: str) -> bool:
        """Whether the commit came from the server or was pushed by `gt done`, so that keeping it again says nothing new."""
        return bool(git.text("for-each-ref", "--count=1", f"--contains={head}", "refs/remotes/origin/"))

    def _push(self, commit: str) -> None:
        ref = self.session.checkpoint_ref
        # Here too: an agent's `git gc` must not prune what a push that fails now delivers later.
        with contextlib.suppress(GitError):  # the server's copy is the one that counts
            self._keep_here(ref, commit)
        self.git.run("push", "--quiet", "--no-verify", "origin", f"+{commit}:{ref}", deadline_seconds=self.push_seconds)

    def _keep_here(self, ref: str, commit: str) -> None:
        lock = Path(self.git.text("rev-parse", "--path-format=absolute", "--git-path", f"{ref}.lock"))
        with contextlib.suppress(OSError):
            if time.time() - lock.stat().st_mtime > self.stale_lock_seconds:
                lock.unlink()
        self.git.run("update-ref", ref, commit)


def find_record(git: Git, commit: str) -> Record | None:
    """What a checkpoint says about itself; None for any other commit (whose tree belongs on the branch, not in the worktree)."""
    if not git.find_commit(commit):
        return None
    parents, _, message = git.text("show", "--no-patch", "--format=%P%n%B", commit).partition("\n")
    return from_message(message) if parents else None


def restored_work(git: Git) -> tuple[str, list[str]]:
    """The checkpoint whose work lies uncommitted in a worktree, or "", and what an agent there must know, a sentence each."""
    restored, checkpoint = (
        git.text("config", "--worktree", "--get", f"gastown.{name}", allow=(0, 1, 128)) for name in ("restored", "checkpoint")
    )
    record = find_record(git, checkpoint) if checkpoint else None
    return restored, notes_for_agent(record, checkpoint) if record is not None else []


def commit_time(git: Git, commit: str) -> int:
    """When a commit was made, unix seconds by the clock of whoever made it."""
    return int(git.text("show", "--no-patch", "--format=%ct", commit))


def newest_time(git: Git, *refs: str) -> int:
    """The time of the newest commit that one of the refs points at, 0 if there is none."""
    return int(git.text("for-each-ref", "--sort=-committerdate", "--count=1", "--format=%(committerdate:unix)", *refs) or 0)


def closing_commit(git: Git, agent: str, bead: str, head: str) -> str:
    """A commit for the agent's checkpoint ref that says "all is in `head`"; "" when no checkpoint could be taken for newer than it.

    Without it, work that an earlier checkpoint caught and the agent threw away before it handed in would come back with rework.
    """
    newest = newest_time(git, f"refs/agents/*/wip/{bead}")
    if commit_time(git, head) > newest or git.text("for-each-ref", "--count=1", f"--points-at={head}", f"refs/agents/*/wip/{bead}"):
        return ""
    dated = replace(git, variables={**git.variables, **_dates(max(int(time.time()), newest + 1))})
    return _commit(dated, f"{head}^{{tree}}", [head], to_message(Record(agent=agent, bead=bead), 0, FILE_LIMIT_BYTES))


def _identified(git: Git, session: Session, unix_time: int) -> Git:
    names = {
        f"GIT_{role}_{part}": value
        for role in ("AUTHOR", "COMMITTER")
        for part, value in (("NAME", session.actor), ("EMAIL", session.email))
    }
    return replace(git, variables={**git.variables, **names, **_dates(unix_time)})


def _dates(unix_time: int) -> dict[str, str]:
    return {f"GIT_{role}_DATE": f"@{unix_time} +0000" for role in ("AUTHOR", "COMMITTER")}


def _commit(git: Git, tree: str, parents: list[str], message: str) -> str:
    words = [word for parent in parents for word in ("-p", parent)]
    return git.run("commit-tree", tree, *words, "-F", "-", given=message.encode()).output.decode().strip()


def _readable(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "replace")


@contextmanager
def _own_folder(session: Session) -> Iterator[Path]:
    """A temporary folder; those that killed processes left behind go first, a running neighbour's stays."""
    session.temporary.mkdir(parents=True, exist_ok=True)
    for folder in session.temporary.glob(f"{_FOLDER}*"):
        owner = folder.name.removeprefix(_FOLDER).partition("-")[0]
        if not Path(f"/proc/{owner}").exists():
            shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{_FOLDER}{os.getpid()}-", dir=session.temporary) as name:
        yield Path(name)
