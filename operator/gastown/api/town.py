"""Town: one per namespace, named `town`: capacity, defaults, budget, emergency stop."""

from __future__ import annotations

from dataclasses import dataclass, field

from .meta import Condition, ObjectMeta
from .usage import Budget, Usage

NAME = "town"
# The prefix of beads that belong to the town itself and to no rig.
PREFIX = "hq"

# Not Off and On: YAML 1.1 reads those as booleans, and an emergency is no time to find out.
STOP_OFF = "Inactive"
STOP_ON = "Active"

PHASE_RUNNING = "Running"
PHASE_STOPPED = "Stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class TownCapacity:
    """How much may run at once in the town."""

    maxPolecats: int = 50
    maxGateRuns: int = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class TownDefaults:
    """Values for rigs and beads that leave the field out."""

    profileName: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmergencyStop:
    """While mode is Active nothing is bound, started or landed."""

    mode: str = STOP_OFF
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long finished objects stay in etcd; the ledger keeps them for ever."""

    closedBeadSeconds: int = 604800
    closedConvoySeconds: int = 1209600
    mergeRequestSeconds: int = 604800
    gateRunSeconds: int = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class TownSpec:
    """The town's rules."""

    title: str = ""
    capacity: TownCapacity = field(default_factory=TownCapacity)
    defaults: TownDefaults = field(default_factory=TownDefaults)
    budget: Budget | None = None
    notify: list[str] = field(default_factory=list)
    emergencyStop: EmergencyStop = field(default_factory=EmergencyStop)
    retention: Retention = field(default_factory=Retention)


@dataclass(frozen=True, slots=True, kw_only=True)
class TownCounts:
    """Objects of the town by phase."""

    rigs: int = 0
    agents: int = 0
    workingAgents: int = 0
    openBeads: int = 0
    readyBeads: int = 0
    blockedBeads: int = 0
    hookedBeads: int = 0
    submittedBeads: int = 0
    failedBeads: int = 0
    closedBeads: int = 0
    runningConvoys: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TownStatus:
    """What was observed of the town; written by the operator alone."""

    observedGeneration: int = 0
    actor: str = ""
    phase: str = ""
    counts: TownCounts = field(default_factory=TownCounts)
    usage: Usage = field(default_factory=Usage)
    conditions: list[Condition] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Town:
    """A namespace's rules and roll-up."""

    apiVersion: str = "gastown.dev/v1alpha1"
    kind: str = "Town"
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: TownSpec = field(default_factory=TownSpec)
    status: TownStatus = field(default_factory=TownStatus)
