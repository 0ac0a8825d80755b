"""Talking to the repository a rig came from: fetch its branch when the rig is adopted, push main there after landings.

Only the refinery calls this; it alone holds upstream credentials. All of it is a git child process, because ssh, proxies and
credential helpers are git's business.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from gastown_git import ref_names
from gastown_git.errors import GitopsError
from gastown_git.git_process import GitFailed, run_git
from gastown_git.maintenance import write_commit_graph
from gastown_git.ref_names import ObjectId
from gastown_git.repository import Repository
from gastown_git.stale_locks import wait_until_free

FETCH_TIMEOUT_SECONDS = 3600.0
PUSH_TIMEOUT_SECONDS = 600.0

_FETCH_OPTIONS = ("--quiet", "--no-tags", "--no-write-fetch-head", "--recurse-submodules=no", "--no-auto-maintenance")
_REMOTE_SCHEMES = ("http", "https", "ssh")
_SCP_LIKE = re.compile(r"[A-Za-z0-9._-]+@[A-Za-z0-9.-]+:[^\s-][^\s]*")


class UpstreamRefused(GitopsError):
    """The URL is not allowed, or the upstream refuses for good (no such branch, not a fast-forward); a person must act."""


class UpstreamUnavailable(GitopsError):
    """The upstream could not be reached or did not answer as git; try again later."""


def check_upstream_url(url: str, *, local_upstreams: Path | None) -> None:
    """Refuse URLs that would let a rig read or write this machine's own files, or run a program.

    Args:
        url: What the rig names: http, https or ssh, or `user@host:path`; file URLs only where the next argument allows.
        local_upstreams: Folder whose repositories file URLs may name; None refuses all file URLs.

    Raises:
        UpstreamRefused: The text says which forms are allowed.
    """
    parts = urlsplit(url)
    if parts.scheme in _REMOTE_SCHEMES and parts.hostname and not parts.hostname.startswith("-"):
        return
    if parts.scheme == "file" and parts.netloc == "" and local_upstreams is not None:
        # resolved, or a link below the folder would lead out of it
        if Path(unquote(parts.path)).resolve().is_relative_to(local_upstreams.resolve()):
            return
        raise UpstreamRefused(url, f"is not below {local_upstreams}", remedy="use a repository below that folder, or an https or ssh URL")
    if _SCP_LIKE.fullmatch(url):
        return
    raise UpstreamRefused(url, "is not an upstream URL allowed here", remedy="use https://host/path, ssh://host/path or user@host:path")


def fetch_branch(
    repository: Repository,
    url: str,
    branch: str,
    *,
    timeout_seconds: float = FETCH_TIMEOUT_SECONDS,
    credentials: Mapping[str, str] | None = None,
) -> ObjectId:
    """Fetch one branch, and nothing else, from the upstream.

    Args:
        repository: Where to store it, under `refs/upstream/<branch>`; main itself does not move.
        url: Checked before with `check_upstream_url`.
        branch: Name without `refs/heads/`.
        timeout_seconds: Deadline for the whole transfer.
        credentials: Variables for git, such as GIT_SSH_COMMAND or GIT_ASKPASS.

    Returns:
        The branch's tip.

    Raises:
        UpstreamRefused: There is no such branch, or its objects are broken.
        UpstreamUnavailable: Try again later.
    """
    ref = ref_names.UPSTREAM + branch
    wait_until_free(repository.path, [f"{ref}.lock"])  # of a fetch that was killed
    try:
        run_git(
            ["fetch", *_FETCH_OPTIONS, "--", url, f"+{ref_names.branch_ref(branch)}:{ref}"],
            repository=repository.path,
            timeout_seconds=timeout_seconds,
            extra_environment=credentials,
        )
    except GitFailed as error:
        if "couldn't find remote ref" in error.error_text:
            raise UpstreamRefused(
                url, f"has no branch {branch!r}", remedy="name an existing branch in the rig, or push one there"
            ) from error
        if "fsck error" in error.error_text:
            raise UpstreamRefused(url, f"sends objects that git calls broken: {error.error_text}", remedy="repair its history") from error
        raise UpstreamUnavailable(
            url, f"fetch failed: {error.error_text}", remedy="check the URL, the network and the credentials"
        ) from error
    tip = repository.refs.find(ref)
    if tip is None:
        raise UpstreamUnavailable(url, f"fetch of {branch!r} brought nothing", remedy="try again")
    # At once, not with the first maintenance: merges on an adopted history are twenty times faster with it. Not by fetch's own option:
    # that fails as a whole while a killed writer's lock on the graph stands.
    with contextlib.suppress(GitopsError):
        write_commit_graph(repository)
    return tip


def push_branch(
    repository: Repository,
    url: str,
    branch: str,
    commit: ObjectId,
    *,
    timeout_seconds: float = PUSH_TIMEOUT_SECONDS,
    credentials: Mapping[str, str] | None = None,
) -> None:
    """Bring the upstream's branch up to a commit; fast-forward only, never forced.

    Args:
        repository: Where the commit is.
        url: Checked before with `check_upstream_url`.
        branch: Name without `refs/heads/`.
        commit: What the branch shall be; pushing what is there already is no error.
        timeout_seconds: Deadline for the whole transfer.
        credentials: Variables for git, such as GIT_SSH_COMMAND or GIT_ASKPASS.

    Raises:
        UpstreamRefused: The upstream has commits that main has not, or its rules refuse the push.
        UpstreamUnavailable: Try again later.
    """
    if (local := _local_folder(url)) is not None:
        # There the other end of a push is our own child, and may have been killed with us.
        wait_until_free(local, [f"{ref_names.branch_ref(branch)}.lock", "HEAD.lock"])  # HEAD is locked with the branch it names
    try:
        run_git(
            ["push", "--quiet", "--no-verify", "--recurse-submodules=no", "--", url, f"{commit}:{ref_names.branch_ref(branch)}"],
            repository=repository.path,
            timeout_seconds=timeout_seconds,
            extra_environment=credentials,
        )
    except GitFailed as error:
        if "[rejected]" in error.error_text or "[remote rejected]" in error.error_text:
            raise UpstreamRefused(
                url, f"refuses {branch!r} at {commit}: {error.error_text}", remedy="bring its commits in through a merge request"
            ) from error
        raise UpstreamUnavailable(
            url, f"push failed: {error.error_text}", remedy="check the URL, the network and the credentials"
        ) from error


def _local_folder(url: str) -> Path | None:
    """The repository's own folder behind a file URL; None for any other."""
    parts = urlsplit(url)
    if parts.scheme != "file":
        return None
    folder = Path(unquote(parts.path))
    return folder / ".git" if (folder / ".git").is_dir() else folder
