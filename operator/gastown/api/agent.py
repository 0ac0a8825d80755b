"""Agent: a permanent identity; each of its sessions is one ephemeral pod."""

from __future__ import annotations

from dataclasses import dataclass, field

from .meta import Condition, ObjectMeta
from .usage import Usage

ROLE_POLECAT = "polecat"
ROLE_CREW = "crew"
# Infrastructure: visible as agents, run by controllers.
ROLE_MAYOR = "mayor"
ROLE_DEACON = "deacon"
ROLE_WITNESS = "witness"
ROLE_REFINERY = "refinery"
ROLES = (ROLE_POLECAT, ROLE_CREW, ROLE_MAYOR, ROLE_DEACON, ROLE_WITNESS, ROLE_REFINERY)

# status.session.lastOutcome
OUTCOME_SUBMITTED = "Submitted"
OUTCOME_HANDOFF = "Handoff"
OUTCOME_FAILED = "Failed"
OUTCOME_NO_CHANGE = "NoChange"
OUTCOME_CLOSED = "Closed"
OUTCOME_LOST = "Lost"

PHASE_IDLE = "Idle"
PHASE_STARTING = "Starting"
PHASE_WORKING = "Working"
PHASE_STOPPING = "Stopping"
PHASE_SUSPENDED = "Suspended"
PHASE_RETIRED = "Retired"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSpec:
    """Who the agent is."""

    role: str = ROLE_POLECAT
    rigName: str = ""
    profileName: str = ""
    suspend: bool = False
    retired: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSession:
    """The present or last session.

    Attributes:
        uid: The pod's uid: the session's ID, and what its repository token is bound to.
        beadName: What it works or worked on; that stays, while the agent's own beadName moves on.
        number: Counts up over the agent's life.
        lastOutcome: Of the last session that ended: Submitted, Handoff, Failed, NoChange, Closed or Lost.
        nextStartTime: Not before this another session is started (back-off).
    """

    uid: str = ""
    beadName: str = ""
    number: int = 0
    startTime: str = ""
    lastOutcome: str = ""
    lastMessage: str = ""
    lastEndTime: str = ""
    nextStartTime: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRecord:
    """The agent's CV in numbers, derived from its beads."""

    landed: int = 0
    closed: int = 0
    reworks: int = 0
    failedSessions: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentStatus:
    """What was observed of an agent; written by the operator alone."""

    observedGeneration: int = 0
    actor: str = ""
    phase: str = ""
    displayName: str = ""
    beadName: str = ""
    session: AgentSession = field(default_factory=AgentSession)
    attempts: int = 0
    cv: AgentRecord = field(default_factory=AgentRecord)
    usage: Usage = field(default_factory=Usage)
    conditions: list[Condition] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """A worker's identity: name, track record and present session."""

    apiVersion: str = "gastown.dev/v1alpha1"
    kind: str = "Agent"
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: AgentSpec = field(default_factory=AgentSpec)
    status: AgentStatus = field(default_factory=AgentStatus)
