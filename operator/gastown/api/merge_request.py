"""MergeRequest: one submitted head on its way to the target branch."""

from __future__ import annotations

from dataclasses import dataclass, field

from .meta import Condition, ObjectMeta

PHASE_PENDING = "Pending"
PHASE_VERIFYING = "Verifying"
PHASE_QUEUED = "Queued"
PHASE_GATING = "Gating"
PHASE_LANDED = "Landed"
PHASE_REJECTED = "Rejected"
PHASE_CONFLICTED = "Conflicted"
PHASE_HELD = "Held"
PHASE_SUPERSEDED = "Superseded"

# The work is back with the bead, or another request took its place.
OVER_WITHOUT_LANDING = frozenset({PHASE_REJECTED, PHASE_CONFLICTED, PHASE_SUPERSEDED})


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeRequestSpec:
    """What is to be merged; all but priority and suspend is immutable."""

    rigName: str = ""
    beadName: str = ""
    agentName: str = ""
    convoyName: str = ""
    head: str = ""
    branch: str = ""
    target: str = "main"
    priority: int = 2
    suspend: bool = False
    claims: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """What one gate said of the candidate."""

    name: str
    verdict: str = ""
    exitCode: int = 0
    seconds: int = 0
    logTail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Where the verdict that decided is kept: refs/evidence/<gateDigest>/<tree>.

    Attributes:
        base: Tip of the target that it was tried on.
        candidate: Merge commit that was tested; its tree is `tree`.
        gateRunName: The run that decided.
    """

    tree: str = ""
    gateDigest: str = ""
    gateRunName: str = ""
    base: str = ""
    candidate: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConflictHunk:
    """One place where both sides changed the same lines.

    Attributes:
        line: First line of it in the file as the target has it, from 1.
        text: With git's markers: both sides, what was there before, and a few lines around.
    """

    file: str = ""
    line: int = 0
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeConflict:
    """Why the head does not merge: with which base, in which files, and in the first places of them.

    Attributes:
        base: Tip of the target that it was tried on.
        files: Paths on one line each, with escapes where they are not printable.
        message: git's words.
    """

    base: str = ""
    files: list[str] = field(default_factory=list)
    hunks: list[ConflictHunk] = field(default_factory=list)
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeRequestStatus:
    """Written by the refinery; condition Verified by the operator."""

    observedGeneration: int = 0
    actor: str = ""
    phase: str = ""
    position: int = 0
    strikes: int = 0
    gateErrors: int = 0
    changedPaths: int = 0
    candidate: str = ""
    gateResults: list[GateResult] = field(default_factory=list)
    evidence: Evidence | None = None
    conflict: MergeConflict | None = None
    landedCommit: str = ""
    landedTime: str = ""
    conditions: list[Condition] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeRequest:
    """One submitted head of a bead."""

    apiVersion: str = "gastown.dev/v1alpha1"
    kind: str = "MergeRequest"
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: MergeRequestSpec = field(default_factory=MergeRequestSpec)
    status: MergeRequestStatus = field(default_factory=MergeRequestStatus)
