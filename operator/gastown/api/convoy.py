"""Convoy: a tracked batch of beads that lands when all are done."""

from __future__ import annotations

from dataclasses import dataclass, field

from .bead import DELIVERY_COMMIT, Dependency, FormulaReference
from .meta import Condition, ObjectMeta
from .usage import Budget, Usage

PHASE_VALIDATING = "Validating"
PHASE_PAUSED = "Paused"
PHASE_RUNNING = "Running"
PHASE_LANDED = "Landed"
PHASE_FAILED = "Failed"
PHASE_CANCELLED = "Cancelled"

LANDING_EACH = "Each"
LANDING_ATOMIC = "Atomic"

FAILURE_CONTINUE = "Continue"
FAILURE_STOP = "Stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class BeadTemplate:
    """A bead to be created for this convoy.

    Attributes:
        name: Local name, unique in the convoy; the bead's ID follows from it and the convoy's uid.
        dependsOn: Local names of templates that must be done first (type blocks).
        dependencies: Edges to existing beads, as in Bead.spec.dependencies.
    """

    name: str
    title: str = ""
    description: str = ""
    design: str = ""
    acceptanceCriteria: str = ""
    type: str = ""
    priority: int | None = None
    delivery: str = DELIVERY_COMMIT
    rigName: str = ""
    profileName: str = ""
    model: str = ""
    labels: list[str] = field(default_factory=list)
    estimateMinutes: int = 0
    formula: FormulaReference | None = None
    dependsOn: list[str] = field(default_factory=list)
    dependencies: list[Dependency] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class BeadDefaults:
    """Values for templates that leave the field out."""

    rigName: str = ""
    profileName: str = ""
    model: str = ""
    type: str = ""
    priority: int | None = None
    labels: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvoySpec:
    """What to do together, and how."""

    title: str = ""
    description: str = ""
    beads: list[str] = field(default_factory=list)
    templates: list[BeadTemplate] = field(default_factory=list)
    owner: str = ""
    notify: list[str] = field(default_factory=list)
    landing: str = LANDING_EACH
    paused: bool = False
    cancelled: bool = False
    failurePolicy: str = FAILURE_CONTINUE
    maxPolecats: int = 0
    budget: Budget | None = None
    deadlineTime: str = ""
    defaults: BeadDefaults = field(default_factory=BeadDefaults)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvoyCounts:
    """Members by phase; `done` are those that count for landing (Landed, Closed without failure, Skipped)."""

    total: int = 0
    blocked: int = 0
    deferred: int = 0
    ready: int = 0
    hooked: int = 0
    working: int = 0
    submitted: int = 0
    landed: int = 0
    closed: int = 0
    skipped: int = 0
    failed: int = 0
    missing: int = 0
    done: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """Members whose blockers are all in earlier waves."""

    total: int = 0
    done: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberReason:
    """Why one member does not move."""

    beadName: str
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvoyStatus:
    """What was observed of a convoy; written by the operator alone."""

    observedGeneration: int = 0
    actor: str = ""
    phase: str = ""
    progress: str = ""
    counts: ConvoyCounts = field(default_factory=ConvoyCounts)
    waves: list[Wave] = field(default_factory=list)
    reasons: list[MemberReason] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    startTime: str = ""
    landedTime: str = ""
    conditions: list[Condition] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Convoy:
    """A tracked batch of beads across rigs."""

    apiVersion: str = "gastown.dev/v1alpha1"
    kind: str = "Convoy"
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: ConvoySpec = field(default_factory=ConvoySpec)
    status: ConvoyStatus = field(default_factory=ConvoyStatus)
