"""Init step of a session: a bare repository fetched from the repo-server, and a real worktree on the session's branch.

It runs before the agent and may be killed and repeated at any point: until its last step is done it starts over, after that it does
nothing. The work goes on where it stopped: from the commit the operator names, or from something newer that this same agent left on
the server when its last session was killed before it could report.
"""

from __future__ import annotations

import random
import shlex
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from gastown.polecat.checkpoint import is_checkpoint
from gastown.polecat.errors import Refused, Unreachable
from gastown.polecat.git import REMOTE_SECONDS, Git, GitError
from gastown.polecat.session import Session

_COMPLETE = ".checkout-complete"
_FIRST_WAIT_SECONDS = 0.25
_LONGEST_WAIT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Start:
    """Where the work goes on.

    Attributes:
        commit: What the branch points at.
        restored: The checkpoint whose content lies uncommitted in the worktree, or "".
    """

    commit: str
    restored: str = ""


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
        commit, _, restored = marker.read_text().partition(" ")
        return Start(commit, restored.strip())
    shutil.rmtree(session.repository, ignore_errors=True)
    shutil.rmtree(session.worktree, ignore_errors=True)
    git = _make_repository(session)
    _fetch_until(git, session, clock() + session.checkout_seconds, sleep, clock)
    start = _choose_start(git, session)
    _add_worktree(git, session, start)
    temporary = marker.with_suffix(".new")
    temporary.write_text(f"{start.commit} {start.restored}\n")
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
    for name, value in settings:
        git.run("config", "--add", name, value)
    # With worktreeConfig a core.bare in the shared file would make the worktrees bare as well (git-worktree's own advice).
    git.run("config", "--unset-all", "core.bare")
    git.run("config", "--worktree", "core.bare", "true")
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
    candidates: list[str] = []
    if session.start_commit:
        candidates.append(_fetched(git, session))
    # Only this agent's own refs: another agent could write its refs to lead this one's work astray.
    candidates += [git.find_commit(f"refs/remotes/origin/{session.branch}"), git.find_commit(session.checkpoint_ref)]
    ahead = [commit for commit in candidates if commit and not git.is_ancestor(commit, target)]
    if not ahead:
        return Start(target)
    # max() keeps the first of equals: the operator's choice wins a tie.
    newest = max(ahead, key=lambda commit: int(git.text("show", "--no-patch", "--format=%ct", commit)))
    if is_checkpoint(git, newest):
        return Start(git.text("rev-parse", f"{newest}^"), restored=newest)
    return Start(newest)


def _fetched(git: Git, session: Session) -> str:
    """The start commit, fetched by its id if no ref brought it."""
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
    if start.restored:
        worktree.run("read-tree", "-u", "--reset", start.restored)
        worktree.run("read-tree", start.commit)
        # read-tree leaves an index without file states: the agent's first `git status` would read every file.
        worktree.run("update-index", "-q", "--refresh", allow=(0, 1))
    for name, value in (
        ("gastown.namespace", session.namespace),
        ("gastown.rig", session.rig),
        ("gastown.agent", session.agent),
        ("gastown.bead", session.bead),
        ("gastown.repository", session.repository_url),
        ("gastown.target", session.target_branch),
        ("gastown.start", start.commit),
        ("gastown.restored", start.restored),
    ):
        worktree.run("config", "--worktree", name, value)


def describe(session: Session, start: Start) -> str:
    """One line for the log of the init container."""
    where: Path = session.worktree
    restored = f", uncommitted work restored from checkpoint {start.restored[:12]}" if start.restored else ""
    return f"checkout: {where} on {session.branch} at {start.commit[:12]}{restored}"
