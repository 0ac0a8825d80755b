"""GateRun: the refinery's wish that the rig's gates run on one tree; the operator makes the Jobs."""

from __future__ import annotations

from dataclasses import dataclass, field

from .meta import Condition, ObjectMeta

VERDICT_PENDING = "Pending"
VERDICT_PASSED = "Passed"
VERDICT_FAILED = "Failed"
VERDICT_ERROR = "Error"

PHASE_PENDING = "Pending"
PHASE_RUNNING = "Running"
PHASE_PASSED = "Passed"
PHASE_FAILED = "Failed"
PHASE_ERROR = "Error"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRunSpec:
    """The exact tree to test; immutable.

    Attributes:
        members: Names of the MergeRequests stacked in the candidate.
        sourceURL: Signed address of the tree's tar.
    """

    rigName: str = ""
    candidate: str = ""
    base: str = ""
    tree: str = ""
    gateDigest: str = ""
    members: list[str] = field(default_factory=list)
    attempt: int = 1
    sourceURL: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRunResult:
    """One gate of the run."""

    name: str
    verdict: str = VERDICT_PENDING
    reason: str = ""
    exitCode: int = 0
    jobName: str = ""
    startTime: str = ""
    finishTime: str = ""
    logTail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRunStatus:
    """Written by the operator alone."""

    observedGeneration: int = 0
    actor: str = ""
    phase: str = ""
    gates: list[GateRunResult] = field(default_factory=list)
    conditions: list[Condition] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRun:
    """One run of a rig's gates on one tree."""

    apiVersion: str = "gastown.dev/v1alpha1"
    kind: str = "GateRun"
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: GateRunSpec = field(default_factory=GateRunSpec)
    status: GateRunStatus = field(default_factory=GateRunStatus)
