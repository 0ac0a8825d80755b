"""The one place that starts the git program: argument lists, deadlines, an environment that no user's settings reach.

pygit2 does everything else. Children: merge-tree, fetch and push, maintenance, and the server's http-backend (server/cgi.py
takes the environment from here).
"""

from __future__ import annotations

import functools
import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gastown_git.errors import GitopsError

MINIMUM_VERSION = (2, 38)
"""`git merge-tree --write-tree` came with 2.38."""

TERMINATION_GRACE_SECONDS = 5.0
"""Time for git to remove its lock files and temporary packs after SIGTERM; SIGKILL would leave them behind."""

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
_PASSED_ON = ("PATH", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", *_PROXIES)


class GitFailed(GitopsError):
    """git ended with an exit code that the caller did not expect; retrying helps only if the cause goes away."""

    def __init__(self, subject: str, problem: str, *, remedy: str, exit_code: int, error_text: str) -> None:
        super().__init__(subject, problem, remedy=remedy)
        self.exit_code = exit_code
        self.error_text = error_text


class GitTimedOut(GitopsError):
    """git was ended because its deadline passed; the same call may work later."""


class GitTooOld(GitopsError):
    """The git program is missing or too old; nothing works until it is replaced."""


@dataclass(frozen=True)
class GitResult:
    """What a git child said: exit code, standard output as bytes, standard error as text."""

    exit_code: int
    output: bytes
    error_text: str


def git_environment(configuration: Sequence[tuple[str, str]] = (), extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Build the environment for a git child.

    Args:
        configuration: Settings that win over the repository's, as (key, value); a key may repeat.
        extra: Further variables, applied last.

    Returns:
        A complete environment: nothing of the caller's own is inherited but the search path, proxies and certificates.
    """
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    environment |= {
        "LC_ALL": "C",  # messages are read by people in logs and by a few callers here: one language
        "HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": "http:https:ssh:file",
        "GIT_CONFIG_COUNT": str(len(configuration)),
    }
    for number, (key, value) in enumerate(configuration):
        environment[f"GIT_CONFIG_KEY_{number}"] = key
        environment[f"GIT_CONFIG_VALUE_{number}"] = value
    return environment | dict(extra or {})


def run_git(
    arguments: Sequence[str],
    *,
    repository: Path | None = None,
    timeout_seconds: float,
    standard_input: bytes = b"",
    configuration: Sequence[tuple[str, str]] = (),
    extra_environment: Mapping[str, str] | None = None,
    expected_exit_codes: Sequence[int] = (0,),
) -> GitResult:
    """Run git to its end and return what it said.

    Args:
        arguments: The words after `git`; never a shell line.
        repository: Bare repository to work in; also declared safe, whoever owns its folder.
        timeout_seconds: After this the whole process group gets SIGTERM, then SIGKILL.
        standard_input: Bytes for the child.
        configuration: Settings for this call, as (key, value).
        extra_environment: Further variables, such as a credential helper's.
        expected_exit_codes: Any other exit code is an error.

    Returns:
        Exit code, output and error text.

    Raises:
        GitFailed: Unexpected exit code; the error text says why.
        GitTimedOut: The deadline passed; try again later.
    """
    command = ["git"]
    if repository is not None:
        command += [f"--git-dir={repository}"]
        configuration = [("safe.directory", str(repository)), *configuration]
    child = subprocess.Popen(
        [*command, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=git_environment(configuration, extra_environment),
        start_new_session=True,  # ssh and remote helpers are grandchildren: the group is what must end
    )
    subject = f"git {arguments[0]} in {repository}" if repository else f"git {arguments[0]}"
    try:
        output, error = child.communicate(standard_input, timeout=timeout_seconds)
    except BaseException as failure:
        _end_group(child)
        if isinstance(failure, subprocess.TimeoutExpired):
            raise GitTimedOut(
                subject, f"no end after {timeout_seconds:g} s", remedy="try again when the machine or the remote is less busy"
            ) from None
        raise
    error_text = error.decode(errors="replace").strip()
    if child.returncode not in expected_exit_codes:
        raise GitFailed(
            subject,
            f"exit code {child.returncode}: {error_text or 'no message'}",
            remedy="see git's message",
            exit_code=child.returncode,
            error_text=error_text,
        )
    return GitResult(child.returncode, output, error_text)


@functools.cache
def require_git() -> tuple[int, int]:
    """Check once per process that git is there and new enough.

    Returns:
        Major and minor version.

    Raises:
        GitTooOld: Install a newer git; there is no other way to merge without a worktree.
    """
    wanted = ".".join(map(str, MINIMUM_VERSION))
    try:
        text = run_git(["version"], timeout_seconds=30).output.decode(errors="replace").strip()
    except FileNotFoundError:
        raise GitTooOld("git", "no such program on PATH", remedy=f"install git {wanted} or newer") from None
    found = re.search(r"(\d+)\.(\d+)", text)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    if version < MINIMUM_VERSION:
        raise GitTooOld(
            "git", f"version is {text!r}, and merging without a worktree needs {wanted}", remedy=f"install git {wanted} or newer"
        )
    return version


def _end_group(child: subprocess.Popen[bytes]) -> None:
    """End a child and everything it started; politely first, so that git removes its lock files."""
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, signal_number)
        except ProcessLookupError:
            break
        try:
            child.communicate(timeout=TERMINATION_GRACE_SECONDS)
        except (subprocess.TimeoutExpired, ValueError):
            continue
    child.wait()
