"""What the harness needs of an agent CLI: one interface, so that a session is the same whichever model works in it.

An exit code of 0 proves nothing (several agent CLIs exit 0 after an API error), so an adapter reads events and gives the verdict, and
the harness checks git besides. Kept as data: an adapter starts nothing and reads no environment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeAlias


@dataclass(frozen=True, slots=True)
class SessionStarted:
    """The agent CLI named its own session, which can be resumed by it."""

    session_id: str


@dataclass(frozen=True, slots=True)
class Text:
    """Something for the log."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The agent used a tool; a failed one is no failure of the run."""

    name: str
    detail: str = ""
    failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageDelta:
    """What was consumed since the last one; the adapter subtracts where its CLI reports totals of a whole thread."""

    inputTokens: int = 0  # noqa: N815 - names as in api/usage.py
    outputTokens: int = 0  # noqa: N815
    cacheReadTokens: int = 0  # noqa: N815
    cacheWriteTokens: int = 0  # noqa: N815


@dataclass(frozen=True, slots=True)
class Terminal:
    """The agent CLI's own verdict on its run.

    Attributes:
        ok: It ended as it should.
        reason: CamelCase when it did not.
        message: For people.
    """

    ok: bool
    reason: str = ""
    message: str = ""


Event: TypeAlias = SessionStarted | Text | ToolCall | UsageDelta | Terminal


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRun:
    """What is to be run.

    Attributes:
        command: The profile's command; what it means is the adapter's business.
        context: The text of `gt prime`.
        turns, cost_micro_usd: Limits to hand to the CLI; 0 means none.
        resume_session_id: Go on with this session of the CLI, or "".
        nudge: What to say to a resumed session, such as why `gt done` refused.
    """

    command: Sequence[str]
    model: str
    context: str
    worktree: Path
    home: Path
    turns: int = 0
    cost_micro_usd: int = 0
    resume_session_id: str = ""
    nudge: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """How to run it.

    Attributes:
        arguments: Program and arguments.
        environment: Added to the session's.
        files: Written before the start, by absolute path.
    """

    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[Path, str] = field(default_factory=dict)


class EventParser(Protocol):
    """Reads one run's standard output."""

    def read_line(self, line: str) -> Sequence[Event]:
        """What one line says; unknown lines are Text, never an error."""
        ...

    def finish(self, exit_code: int) -> Terminal:
        """The verdict, once the output has ended; exit_code is negative for a signal."""
        ...


class Adapter(Protocol):
    """One kind of agent CLI."""

    @property
    def name(self) -> str:
        """As in AgentProfile.spec.adapter."""
        ...

    @property
    def is_resumable(self) -> bool:
        """Whether a session of it can be resumed with a nudge."""
        ...

    def invocation(self, run: AgentRun) -> Invocation:
        """How to run it.

        Raises:
            Refused: The profile is not usable with this adapter; the message says what to change.
        """
        ...

    def parser(self) -> EventParser:
        """A parser for one run."""
        ...
