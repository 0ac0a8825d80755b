"""What is known about candidates' trees: gate results, attempts and what follows from them. Pure; stored by evidence.py."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gastown_git.ref_names import ObjectId


class Verdict(StrEnum):
    """What one gate, or one run of all gates, came to.

    ERROR means that the gate could not speak (out of memory, evicted, image missing): never blamed on the work.
    """

    PASSED = "Passed"
    FAILED = "Failed"
    ERROR = "Error"


@dataclass(frozen=True)
class GateResult:
    """One gate's part of an attempt.

    Attributes:
        exit_code: Of the gate's container; None when it never ran.
        seconds: How long it ran.
        log_tail: The end of its output, shortened on storing.
    """

    name: str
    verdict: Verdict
    exit_code: int | None = None
    seconds: float = 0.0
    log_tail: str = ""


@dataclass(frozen=True)
class Attempt:
    """One run of all gates on one tree.

    Attributes:
        number: 1 for the first run on this tree under this gate digest; a number is recorded once.
        verdict: Of the whole run.
        candidate: Commit that was gated; others with the same tree share the result.
        base: Commit it was stacked on.
        members: Names of the merge requests in it; empty when main itself was gated.
        gates: Results one by one.
        start_time: Seconds since 1970.
        finish_time: Seconds since 1970.
    """

    number: int
    verdict: Verdict
    candidate: ObjectId
    base: ObjectId
    members: tuple[str, ...] = ()
    gates: tuple[GateResult, ...] = ()
    start_time: float = 0.0
    finish_time: float = 0.0


@dataclass(frozen=True)
class Evidence:
    """All attempts on one tree under one gate digest, in order of their numbers.

    A green stays green: once a tree has passed, a later red on the same tree is a flaky gate, recorded but without consequence.
    """

    gate_digest: str
    tree: ObjectId
    attempts: tuple[Attempt, ...] = ()

    @property
    def is_green(self) -> bool:
        """Whether this tree may land."""
        return any(attempt.verdict is Verdict.PASSED for attempt in self.attempts)

    @property
    def is_flaky(self) -> bool:
        """Whether the same tree was both green and red: worth telling the rig's owner."""
        return self.is_green and self.reds > 0

    @property
    def reds(self) -> int:
        """How often the gates said no."""
        return sum(attempt.verdict is Verdict.FAILED for attempt in self.attempts)

    def errors_since(self, time: float) -> int:
        """Count the attempts that ended in an error after a time: the moment a person asked for another try."""
        return sum(attempt.verdict is Verdict.ERROR and attempt.finish_time > time for attempt in self.attempts)

    @property
    def next_attempt(self) -> int:
        """Number for the next run."""
        return max((attempt.number for attempt in self.attempts), default=0) + 1
