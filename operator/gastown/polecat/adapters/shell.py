"""The `shell` adapter: the profile's command itself is the agent. Deterministic, without a model or a key."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from gastown.polecat.adapters.base import AgentRun, Event, Invocation, Terminal, Text
from gastown.polecat.errors import Refused


class ShellParser:
    """Every line is text; the exit code is the verdict, for there is nothing else."""

    def read_line(self, line: str) -> Sequence[Event]:
        """The line as text."""
        return (Text(line),)

    def finish(self, exit_code: int) -> Terminal:
        """Good only with exit code 0."""
        if exit_code == 0:
            return Terminal(ok=True)
        if exit_code < 0:
            return Terminal(ok=False, reason="AgentKilled", message=f"the agent's command was ended by {_signal_name(-exit_code)}")
        return Terminal(ok=False, reason="AgentFailed", message=f"the agent's command ended with exit code {exit_code}")


class ShellAdapter:
    """Runs AgentProfile.spec.command in the worktree with the bead in its environment."""

    name = "shell"
    is_resumable = False

    def invocation(self, run: AgentRun) -> Invocation:
        """The command as it is."""
        if not run.command:
            raise Refused(
                "the agent's profile",
                "adapter shell has no command to run",
                remedy='set AgentProfile.spec.command, such as ["sh", "-c", "..."]',
                reason="NoCommand",
            )
        return Invocation(arguments=list(run.command))

    def parser(self) -> ShellParser:
        """A parser for one run."""
        return ShellParser()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
