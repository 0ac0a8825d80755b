"""Bead: one unit of work, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from .merge_request import ConflictHunk
from .meta import Condition, ObjectMeta
from .usage import Usage

# spec.state: asked for by people
OPEN = "open"
DEFERRED = "deferred"
PINNED = "pinned"
CLOSED = "closed"

# spec.delivery: what doing the bead leaves behind
DELIVERY_COMMIT = "Commit"
DELIVERY_NONE = "None"

# spec.type values that are never dispatched to an agent
UNDISPATCHED_TYPES = frozenset({"message", "gate", "molecule", "agent", "role", "rig", "merge-request"})

# spec.dependencies[].type values that can hold a bead back; all others only inform
BLOCKS = "blocks"
CONDITIONAL_BLOCKS = "conditional-blocks"
WAITS_FOR = "waits-for"
MERGE_BLOCKS = "merge-blocks"
PARENT_CHILD = "parent-child"
BLOCKING_TYPES = frozenset({BLOCKS, CONDITIONAL_BLOCKS, WAITS_FOR, MERGE_BLOCKS})

# status.dependencies[].outcome
OUTCOME_PENDING = "Pending"
OUTCOME_SUCCEEDED = "Succeeded"
OUTCOME_FAILED = "Failed"
OUTCOME_SKIPPED = "Skipped"
OUTCOME_UNKNOWN = "Unknown"

# status.phase, first row of the phase table that holds
PHASE_LANDED = "Landed"
PHASE_CLOSED = "Closed"
PHASE_PINNED = "Pinned"
PHASE_DEFERRED = "Deferred"
PHASE_FAILED = "Failed"
PHASE_SUBMITTED = "Submitted"
PHASE_WORKING = "Working"
PHASE_HOOKED = "Hooked"
PHASE_BLOCKED = "Blocked"
PHASE_READY = "Ready"
PHASES = (
    PHASE_LANDED,
    PHASE_CLOSED,
    PHASE_PINNED,
    PHASE_DEFERRED,
    PHASE_FAILED,
    PHASE_SUBMITTED,
    PHASE_WORKING,
    PHASE_HOOKED,
    PHASE_BLOCKED,
    PHASE_READY,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependency:
    """An edge to another bead.

    Attributes:
        id: The other bead's ID.
        type: What the edge means; blocks, conditional-blocks, waits-for and merge-blocks can hold this bead back.
        metadata: Of waits-for: {"gate": "all-children" | "any-children"}; of others free.
    """

    id: str
    type: str = BLOCKS
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comment:
    """A remark on a bead."""

    id: str = ""
    author: str = ""
    text: str = ""
    createdTime: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormulaReference:
    """The formula a bead is worked by, with its variables."""

    name: str = ""
    vars: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BeadSpec:
    """What people want of a bead, and to which agent it is bound."""

    title: str = ""
    description: str = ""
    design: str = ""
    acceptanceCriteria: str = ""
    notes: str = ""
    comments: list[Comment] = field(default_factory=list)
    type: str = "task"
    priority: int = 2
    state: str = OPEN
    closeReason: str = ""
    delivery: str = DELIVERY_COMMIT
    assignee: str = ""
    owner: str = ""
    rigName: str = ""
    labels: list[str] = field(default_factory=list)
    dependencies: list[Dependency] = field(default_factory=list)
    parent: str = ""
    deferUntil: str = ""
    dueTime: str = ""
    estimateMinutes: int = 0
    formula: FormulaReference | None = None
    profileName: str = ""
    model: str = ""
    createdTime: str = ""
    createdBy: str = ""
    externalRef: str = ""
    originalId: str = ""
    extra: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DependencyOutcome:
    """What a dependency came to; recorded here, so that it survives the other bead leaving etcd."""

    id: str
    type: str = BLOCKS
    outcome: str = OUTCOME_PENDING


@dataclass(frozen=True, slots=True, kw_only=True)
class BeadTimes:
    """When the bead last entered each phase, RFC 3339."""

    readyTime: str = ""
    hookedTime: str = ""
    workingTime: str = ""
    submittedTime: str = ""
    landedTime: str = ""
    closedTime: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rework:
    """Why the bead came back to work the last time, with the evidence.

    Attributes:
        reason: Conflicted, Rejected, EmptyChange, or why the head was not taken in, such as HeadNotFound.
        base: Tip of the target branch it was tried on.
        head: The submitted head.
        candidate, tree: The merge of both that the gates said no to, and its tree.
        files: Paths in conflict.
        hunks: The first places in conflict.
        gate: The first red one.
        exitCode: Its exit code.
        logTail: Its last lines.
        message: What happened and what to do next.
    """

    reason: str = ""
    mergeRequestName: str = ""
    base: str = ""
    head: str = ""
    candidate: str = ""
    tree: str = ""
    files: list[str] = field(default_factory=list)
    hunks: list[ConflictHunk] = field(default_factory=list)
    gate: str = ""
    exitCode: int = 0
    logTail: str = ""
    message: str = ""
    time: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierRework:
    """A return before the last one, in short."""

    reason: str = ""
    mergeRequestName: str = ""
    base: str = ""
    head: str = ""
    gate: str = ""
    time: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedSession:
    """A session that cost the bead an attempt; its pod and log are gone.

    Attributes:
        outcome: Failed, NoChange or Lost; what the session claimed where nothing confirmed it.
        exitCode: Of the agent's container; 0 where there was none.
    """

    agentName: str = ""
    sessionUid: str = ""
    outcome: str = ""
    message: str = ""
    exitCode: int = 0
    endTime: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BeadStatus:
    """What was observed of a bead; written by the operator alone.

    Attributes:
        sessionUid: Of the last session whose end is counted in attempts, head and usage; the present one is in the Agent's status.
    """

    observedGeneration: int = 0
    actor: str = ""
    phase: str = ""
    blockedBy: list[str] = field(default_factory=list)
    dependencies: list[DependencyOutcome] = field(default_factory=list)
    attempts: int = 0
    reworks: int = 0
    agentName: str = ""
    sessionUid: str = ""
    failedSessions: list[FailedSession] = field(default_factory=list)
    branch: str = ""
    head: str = ""
    mergeRequestName: str = ""
    landedCommits: list[str] = field(default_factory=list)
    lastRework: Rework | None = None
    earlierReworks: list[EarlierRework] = field(default_factory=list)
    lastRetryRequest: str = ""
    retired: list[str] = field(default_factory=list)
    times: BeadTimes = field(default_factory=BeadTimes)
    usage: Usage = field(default_factory=Usage)
    conditions: list[Condition] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bead:
    """One unit of work; metadata.name is its ID in lower case."""

    apiVersion: str = "gastown.dev/v1alpha1"
    kind: str = "Bead"
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: BeadSpec = field(default_factory=BeadSpec)
    status: BeadStatus = field(default_factory=BeadStatus)
