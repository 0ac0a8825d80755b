"""Keeps work that is not committed: a commit of everything in the worktree, pushed to the agent's own ref.

The agent notices nothing: the commit is built in a temporary index, so its index, HEAD, branch and stash stay as they are, byte for
byte. The commit's only parent is the HEAD of then, which keeps commits that were not pushed yet, too.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from gastown.polecat.git import Git, GitError
from gastown.polecat.session import Session

# A build product or core dump must not fill the repository; what is bigger is named in the commit instead.
FILE_LIMIT_BYTES = 10 * 1024 * 1024
PUSH_SECONDS = 60.0
TRAILER = "Gastown-Checkpoint"
_NAMED_LIMIT = 50


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Work that is kept on the server.

    Attributes:
        commit: A commit made here, or HEAD itself when all was committed; "" when there is nothing beyond what the server had.
        left_out: Files that are too big, or folders that are repositories of their own.
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
    pushed: str = ""
    _pushed_content: tuple[str, str] = ("", "")

    def take(self) -> Checkpoint:
        """Keep what is there now, unless that is kept already.

        Raises:
            GitError: Not kept: git failed or the server did not take it. Nothing of the agent's has changed.
            Interrupted: The session stops (only with a `Git` that looks out for it).
        """
        head = self.git.find_commit("HEAD")
        tree, left_out = self._write_tree(head)
        if (head, tree) == self._pushed_content:
            return Checkpoint(self.pushed, left_out)
        commit = head
        if tree != self.git.text("rev-parse", f"{head}^{{tree}}"):
            commit = self._commit(head, tree, left_out)
        elif self._is_on_server(head):
            return Checkpoint("", left_out)
        self._push(commit)
        self.pushed, self._pushed_content = commit, (head, tree)
        return Checkpoint(commit, left_out)

    def _write_tree(self, head: str) -> tuple[str, list[str]]:
        with tempfile.TemporaryDirectory(prefix="checkpoint-", dir=_folder(self.session)) as folder:
            index = Path(folder) / "index"
            self._start_index(index, head)
            paths, left_out = self._changed_paths(index)
            if paths:
                # update-index and not `add`: a file that vanishes between listing and reading is no error here.
                given = b"".join(path + b"\0" for path in paths)
                self.git.run("update-index", "--add", "--remove", "--replace", "-z", "--stdin", given=given, index=index)
            return self.git.run("write-tree", index=index).output.decode().strip(), left_out

    def _start_index(self, index: Path, head: str) -> None:
        # The agent's index knows which files are unchanged since they were last read; without it every file is read again.
        agents_index = Path(self.git.text("rev-parse", "--path-format=absolute", "--git-path", "index"))
        try:
            shutil.copyfile(agents_index, index)
            self.git.run("read-tree", "--reset", head, index=index)
        except (OSError, GitError):
            index.unlink(missing_ok=True)
            self.git.run("read-tree", head, index=index)

    def _changed_paths(self, index: Path) -> tuple[list[bytes], list[str]]:
        """Paths that differ from HEAD or are new and not ignored, without those that must stay out."""
        top = os.fsencode(self.git.folder) + b"/"
        listed = self.git.run("ls-files", "-z", "--modified", "--others", "--exclude-standard", "--full-name", index=index).output
        paths: list[bytes] = []
        left_out: list[str] = []
        for path in dict.fromkeys(listed.split(b"\0")):
            if path.endswith(b"/") or (path and not self._may_keep(top + path)):
                left_out.append(os.fsdecode(path).encode("utf-8", "replace").decode())
            elif path:
                paths.append(path)
        # Folders stand here for index entries that they replaced: those must go before files below them are added.
        return sorted(paths, key=lambda path: not os.path.isdir(top + path)), left_out  # noqa: PTH112 - bytes: names need no encoding

    def _may_keep(self, path: bytes) -> bool:
        try:
            state = os.lstat(path)
        except OSError:
            return True  # deleted: that is a change, too
        if stat.S_ISLNK(state.st_mode) or stat.S_ISDIR(state.st_mode):
            return True  # a folder without the slash stands in the index: a submodule, or a file that a folder replaced
        return stat.S_ISREG(state.st_mode) and state.st_size <= self.file_limit_bytes and os.access(path, os.R_OK)

    def _commit(self, head: str, tree: str, left_out: list[str]) -> str:
        session = self.session
        lines = [f"Checkpoint of {session.bead} in session {session.number}", ""]
        if left_out:
            lines.append(f"Left out (over {self.file_limit_bytes} bytes, unreadable, or a repository of its own):")
            lines += [f"- {name!r}" for name in left_out[:_NAMED_LIMIT]]
            lines += [f"- and {len(left_out) - _NAMED_LIMIT} more"] if len(left_out) > _NAMED_LIMIT else []
            lines.append("")
        lines.append(f"{TRAILER}: {session.agent}/{session.bead}")
        stamp = f"{int(time.time())} +0000"
        identity = {
            f"GIT_{role}_{part}": value
            for role in ("AUTHOR", "COMMITTER")
            for part, value in (("NAME", session.actor), ("EMAIL", session.email), ("DATE", stamp))
        }
        git = Git(self.git.folder, {**self.git.variables, **identity}, self.git.is_interrupted)
        done = git.run("commit-tree", tree, "-p", head, "-F", "-", given="\n".join(lines).encode())
        return done.output.decode().strip()

    def _is_on_server(self, head: str) -> bool:
        """Whether the commit came from the server or was pushed by `gt done`, so that keeping it again says nothing new."""
        return bool(self.git.text("for-each-ref", "--count=1", f"--contains={head}", "refs/remotes/origin/"))

    def _push(self, commit: str) -> None:
        ref = self.session.checkpoint_ref
        # A local ref too: an agent's `git gc` must not prune what the next checkpoint builds on.
        self.git.run("update-ref", ref, commit)
        self.git.run("push", "--quiet", "--no-verify", "origin", f"+{commit}:{ref}", deadline_seconds=self.push_seconds)


def is_checkpoint(git: Git, commit: str) -> bool:
    """Whether a commit was made by a `Checkpointer` out of uncommitted work (its tree belongs in the worktree, not on the branch)."""
    message = git.text("show", "--no-patch", "--format=%P%n%(trailers:key=" + TRAILER + ",valueonly)", commit)
    parents, _, trailer = message.partition("\n")
    return bool(trailer.strip()) and len(parents.split()) == 1


def _folder(session: Session) -> Path:
    session.temporary.mkdir(parents=True, exist_ok=True)
    return session.temporary
