"""The git commands of a session: one runner with a deadline and an environment that no user setting can bend."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gastown.polecat import child

LOCAL_SECONDS = 120.0
REMOTE_SECONDS = 120.0
# Git's own environment of a caller (a hook, an alias) would redirect our commands to another repository.
_FOREIGN = frozenset(
    {"GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES"}
    | {"GIT_NAMESPACE", "GIT_PREFIX", "GIT_CEILING_DIRECTORIES", "GIT_LITERAL_PATHSPECS", "GIT_EXTERNAL_DIFF", "GIT_TRACE"}
)


class GitError(Exception):
    """A git command that did not do what it should.

    Attributes:
        command: The subcommand.
        exit_code: Its exit code.
        message: The end of what it wrote, for people.
    """

    def __init__(self, command: str, exit_code: int, message: str) -> None:
        super().__init__(command, exit_code, message)
        self.command = command
        self.exit_code = exit_code
        self.message = message

    def __str__(self) -> str:
        return f"git {self.command}: {self.message or f'exit code {self.exit_code}'}"


@dataclass(frozen=True, slots=True)
class Git:
    """Runs git in one folder.

    Attributes:
        folder: A worktree or a bare repository.
        variables: Added to the environment of every command.
        is_interrupted: Ends a running command when it becomes true.
        ends: On the monotonic clock; no command of a longer piece of work may run on after it.
    """

    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    is_interrupted: Callable[[], bool] | None = None
    ends: float = math.inf

    def run(
        self,
        *arguments: str,
        given: bytes = b"",
        deadline_seconds: float = LOCAL_SECONDS,
        allow: tuple[int, ...] = (0,),
        index: Path | None = None,
    ) -> child.Completed:
        """Run one git command.

        Args:
            allow: Exit codes that are answers, not failures.
            index: An index file to use in place of the worktree's.

        Raises:
            GitError: Another exit code, or the deadline passed.
            Interrupted: The session stops.
        """
        environment = git_environment(self.variables)
        if index is not None:
            environment["GIT_INDEX_FILE"] = str(index)
        # Hooks are scripts of the agent or of whoever made the repository: none of our commands may depend on them.
        command = ["git", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", *arguments]
        deadline_seconds = max(0.0, min(deadline_seconds, self.ends - time.monotonic()))
        try:
            done = child.run(
                command,
                folder=self.folder,
                environment=environment,
                given=given,
                deadline_seconds=deadline_seconds,
                is_interrupted=self.is_interrupted,
            )
        except OSError as error:  # no git, or no such folder
            raise GitError(arguments[0], 127, str(error)) from error
        if done.timed_out:
            raise GitError(arguments[0], done.exit_code, f"no end after {deadline_seconds:.0f} s")
        if done.exit_code not in allow:
            raise GitError(arguments[0], done.exit_code, last_words(done.error or done.output))
        return done

    def text(self, *arguments: str, deadline_seconds: float = LOCAL_SECONDS, allow: tuple[int, ...] = (0,)) -> str:
        """The output of a git command without its line end."""
        return self.run(*arguments, deadline_seconds=deadline_seconds, allow=allow).output.decode("utf-8", "surrogateescape").rstrip("\n")

    def succeeds(self, *arguments: str) -> bool:
        """Whether a command that answers by exit code 0 or 1 says yes."""
        return self.run(*arguments, allow=(0, 1)).exit_code == 0

    def find_commit(self, name: str) -> str:
        """The commit a name stands for, 40 hex digits; "" if there is none here."""
        done = self.run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}", allow=(0, 1, 128))
        return done.output.decode().strip() if done.exit_code == 0 else ""

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Whether `newer` contains `older`."""
        return self.succeeds("merge-base", "--is-ancestor", older, newer)


def git_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Our environment for git: never asks, never takes an optional lock on the agent's index, speaks English."""
    kept = {name: value for name, value in os.environ.items() if name not in _FOREIGN and not name.startswith("GIT_CONFIG_")}
    return {**kept, "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "GIT_EDITOR": ":", "LC_ALL": "C.UTF-8", **variables}


def last_words(data: bytes, limit: int = 1500) -> str:
    """The end of what a program wrote, as one line."""
    lines = (line.strip() for line in data.decode("utf-8", "replace")[-limit:].splitlines())
    return "; ".join(line for line in lines if line)
