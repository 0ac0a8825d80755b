"""Init step of a session: a bare repository fetched from the repo-server, and a real worktree on the session's branch.

It runs before the agent and may be killed and repeated at any point: until its last step is done it starts over, after that it does
nothing. The work goes on where it stopped: from the newest of the commit the operator names and all that sessions of this bead left on
the server, whoever ran them: one that was killed could report nothing, but its checkpoints are there. They can be believed, since the
repo-server lets an agent write such refs only for the bead of the pod that asks (`gastown_git.server.access`).
"""

from __future__ import annotations

import contextlib
import random
import re
import shlex
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from gastown.polecat.checkpoint import commit_time, find_record
from gastown.polecat.checkpoint_record import BRANCH, INDEX, MERGE, STASH, TIP, Record
from gastown.polecat.errors import Refused, Unreachable
from gastown.polecat.git import REMOTE_SECONDS, Git, GitError
from gastown.polecat.git_settings import append_settings
from gastown.polecat.session import Session
from gastown.removal import remove_tree

_COMMIT = re.compile("[0-9a-f]{40}")
_COMPLETE = ".checkout-complete"
_FIRST_WAIT_SECONDS = 0.25
_LONGEST_WAIT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Start:
    """Where the work goes on.

    Attributes:
        commit: What the branch points at.
        restored: The checkpoint whose content lies uncommitted in the worktree, or "".
        checkpoint: The one the work goes on from, or "": also where it is not restored, since HEAD and branch had gone apart.
    """

    commit: str
    restored: str = ""
    checkpoint: str = ""


def checkout(session: Session, *, sleep: Callable[[float], None] = time.sleep, clock: Callable[[], float] = time.monotonic) -> Start:
    """Prepare the workspace of a session.

    Raises:
        Unreachable: The repo-server gave no repository before the deadline; the message holds git's last words.
        Refused: The start commit is on no ref that may be fetched.
    """
    marker = session.workspace / _COMPLETE
    for folder in (session.workspace, session.home, session.temporary):
        folder.mkdir(parents=True, exist_ok=True)
    if marker.exists():
        return Start(*marker.read_text().rstrip("\n").split(" "))
    remove_tree(session.repository)
    remove_tree(session.worktree)
    git = _make_repository(session)
    _fetch_until(git, session, clock() + session.checkout_seconds, sleep, clock)
    start = _choose_start(git, session)
    _add_worktree(git, session, start)
    temporary = marker.with_suffix(".new")
    temporary.write_text(f"{start.commit} {start.restored} {start.checkpoint}\n")
    temporary.replace(marker)
    return start


def credential_settings(repository_url: str, token_file: str) -> list[tuple[str, str]]:
    """Git settings that answer this one server, and no other, with the token in the file.

    The empty helper first drops those of the machine: a keychain would store a token that is dead within the hour.
    """
    settings = [("credential.helper", "")]
    parts = urlsplit(repository_url)
    if token_file and parts.scheme in ("http", "https"):
        server = urlunsplit((parts.scheme, parts.netloc, "", "", ""))
        helper = shlex.join([sys.executable, "-I", "-m", "gastown.polecat.credential", "--token-file", token_file])
        settings.append((f"credential.{server}.helper", f"!{helper}"))
    return settings


def _make_repository(session: Session) -> Git:
    Git(session.workspace).run("init", "--quiet", "--bare", f"--initial-branch={session.target_branch}", str(session.repository))
    git = Git(session.repository)
    settings = [
        ("remote.origin.url", session.repository_url),
        ("remote.origin.fetch", f"+refs/heads/{session.target_branch}:refs/remotes/origin/{session.target_branch}"),
        *credential_settings(session.repository_url, session.token_file),
        ("http.lowSpeedLimit", "1000"),
        ("http.lowSpeedTime", "30"),
        ("gc.auto", "0"),  # the pod lives for one session; a background gc would outlive commands and slow the agent
        ("push.default", "current"),
        ("user.name", session.actor),
        ("user.email", session.email),
        ("extensions.worktreeConfig", "true"),
    ]
    append_settings(session.repository / "config", settings)
    # With worktreeConfig a core.bare in the shared file would make the worktrees bare as well (git-worktree's own advice).
    append_settings(session.repository / "config.worktree", [("core.bare", "true")])
    git.run("config", "--unset-all", "core.bare")
    return git


def _fetch_until(git: Git, session: Session, deadline: float, sleep: Callable[[float], None], clock: Callable[[], float]) -> None:
    """Fetch, and again: the repository may still be in adoption, and the server may not yet know this pod's token."""
    wait = _FIRST_WAIT_SECONDS
    bead = session.bead
    refs = [
        f"+refs/heads/{session.target_branch}:refs/remotes/origin/{session.target_branch}",
        f"+refs/heads/polecat/*/{bead}:refs/remotes/origin/polecat/*/{bead}",
        f"+refs/agents/*/wip/{bead}:refs/agents/*/wip/{bead}",
    ]
    while True:
        try:
            git.run("fetch", "--quiet", "--no-tags", "origin", *refs, deadline_seconds=REMOTE_SECONDS)
            return
        except GitError as error:
            left = deadline - clock()
            if left <= 0:
                raise Unreachable(
                    f"repository {session.repository_url}",
                    f"not fetched within {session.checkout_seconds} s: {error}",
                    remedy=f"look at condition RepositoryReady of rig {session.rig} and at the logs of the repo pod",
                    reason="FetchFailed",
                ) from error
            print(f"checkout: {error}; next try in {wait:.1f} s", file=sys.stderr, flush=True)
            sleep(min(left, wait * random.uniform(0.8, 1.2)))  # noqa: S311 - spreads pods, guards nothing
            wait = min(_LONGEST_WAIT_SECONDS, wait * 2)


def _choose_start(git: Git, session: Session) -> Start:
    target = git.find_commit(f"refs/remotes/origin/{session.target_branch}")
    bead = session.bead
    patterns = (f"refs/remotes/origin/polecat/*/{bead}", f"refs/agents/*/wip/{bead}")
    candidates = [_fetched(git, session)] if session.start_commit else []
    candidates += git.text("for-each-ref", "--sort=-committerdate", "--format=%(objectname)", *patterns).split()
    newest = _newest(git, [commit for commit in candidates if git.find_commit(commit)])
    # Judged last: what was thrown away before a head landed must not come back because that head is no start any more.
    if not newest or git.is_ancestor(newest, target):
        return Start(target)
    record = find_record(git, newest)
    if record is None:
        return Start(newest)
    base = git.text("rev-parse", f"{newest}^")
    if tip := record.find(TIP):
        return Start(tip, checkpoint=newest)
    if not record.kept and git.succeeds("diff-tree", "--quiet", base, newest):
        return Start(target if git.is_ancestor(base, target) else base, checkpoint=newest)
    return Start(base, restored=newest, checkpoint=newest)


def _newest(git: Git, commits: list[str]) -> str:
    """The last made; of two of the same second the one that contains the other, else the first, which is the operator's choice."""
    newest = ""
    for commit in commits:
        if not newest:
            newest = commit
            continue
        ahead = commit_time(git, commit) - commit_time(git, newest)
        if ahead > 0 or (ahead == 0 and commit != newest and git.is_ancestor(newest, commit)):
            newest = commit
    return newest


def _fetched(git: Git, session: Session) -> str:
    """The start commit, fetched by its id if no ref brought it."""
    if not _COMMIT.fullmatch(session.start_commit):
        # git would take what begins with a dash for an option, and one of those names a program to run
        raise Refused(
            f"bead {session.bead}",
            f"its head {session.start_commit!r} is no commit",
            remedy="clear it by reopening the bead",
            reason="StartCommitMissing",
        )
    if commit := git.find_commit(session.start_commit):
        return commit
    try:
        git.run("fetch", "--quiet", "--no-tags", "origin", session.start_commit, deadline_seconds=REMOTE_SECONDS)
    except GitError as error:
        raise Refused(
            f"bead {session.bead}",
            f"its head {session.start_commit} is not in {session.repository_url}: {error.message}",
            remedy="look for it under refs/keep/ there, or clear it by reopening the bead",
            reason="StartCommitMissing",
        ) from error
    return git.find_commit(session.start_commit)


def _add_worktree(git: Git, session: Session, start: Start) -> None:
    git.run("worktree", "add", "--quiet", "--force", "-B", session.branch, str(session.worktree), start.commit)
    worktree = Git(session.worktree)
    record = find_record(git, start.checkpoint) if start.checkpoint else None
    if record is not None:
        if start.restored:
            _restore(worktree, session, start, record)
        _bring_back_beside(worktree, record)
    settings = [
        ("gastown.namespace", session.namespace),
        ("gastown.rig", session.rig),
        ("gastown.agent", session.agent),
        ("gastown.bead", session.bead),
        ("gastown.repository", session.repository_url),
        ("gastown.target", session.target_branch),
        ("gastown.start", start.commit),
        ("gastown.restored", start.restored),
        ("gastown.checkpoint", start.checkpoint),
    ]
    append_settings(Path(worktree.text("rev-parse", "--path-format=absolute", "--git-path", "config.worktree")), settings)


def _restore(worktree: Git, session: Session, start: Start, record: Record) -> None:
    """Lay a checkpoint's content into the worktree; the index becomes what it was: staged, or in the middle of a merge, or untouched."""
    merging = [kept.commit for kept in record.kept if kept.kind == MERGE]
    if len(merging) == 1:
        # Begun anew, for its MERGE_HEAD and the conflicts in the index; what it writes into files is overwritten below.
        with contextlib.suppress(GitError):
            worktree.run("merge", "--no-commit", "--no-ff", "--quiet", merging[0], allow=(0, 1))
    copy = session.temporary / "restoring-index"
    shutil.copyfile(worktree.text("rev-parse", "--path-format=absolute", "--git-path", "index"), copy)
    if merging:
        # The copy must hold all that lies there, or read-tree would leave behind what the checkpoint does not have.
        worktree.run("add", "--all", "--force", index=copy)
    worktree.run("read-tree", "-u", "--reset", start.restored, index=copy)
    copy.unlink()
    if staged := record.find(INDEX):
        worktree.run("read-tree", staged)
    # Without the states of files the agent's first `git status` would read every one.
    worktree.run("update-index", "-q", "--refresh", allow=(0, 1))


def _bring_back_beside(worktree: Git, record: Record) -> None:
    """Branches and stashes of the session before; what can not be brought back is still a parent of the checkpoint."""
    for kept in record.kept:
        with contextlib.suppress(GitError):
            if kept.kind == BRANCH:
                worktree.run("update-ref", f"refs/heads/{kept.name}", kept.commit, "0" * 40)
    for kept in reversed([kept for kept in record.kept if kept.kind == STASH]):
        with contextlib.suppress(GitError):
            worktree.run("stash", "store", "-m", kept.name, kept.commit)


def describe(session: Session, start: Start) -> str:
    """One line for the log of the init container."""
    where: Path = session.worktree
    restored = f", uncommitted work restored from checkpoint {start.restored[:12]}" if start.restored else ""
    return f"checkout: {where} on {session.branch} at {start.commit[:12]}{restored}"
