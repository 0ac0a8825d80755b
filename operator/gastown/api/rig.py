"""Rig: a git repository under management, with the gates that guard its main."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from .codec import to_dict
from .meta import Condition, ObjectMeta
from .usage import Budget

GATE_COMMAND = "Command"
GATE_REVIEW = "Review"
GATE_APPROVAL = "Approval"

CLONE_FULL = "Full"
CLONE_BLOBLESS = "Blobless"
CLONE_SHALLOW = "Shallow"

MERGE_QUEUE = "Queue"

PHASE_PENDING = "Pending"
PHASE_READY = "Ready"
PHASE_SUSPENDED = "Suspended"
PHASE_STALLED = "Stalled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One test that a candidate must pass before it may land.

    Attributes:
        command: Program and arguments, run in the root of the candidate's tree; exit code 0 passes.
        timeoutSeconds: After this a run counts as a gate error, not as red.
    """

    name: str
    type: str = GATE_COMMAND
    command: list[str] = field(default_factory=list)
    image: str = ""
    timeoutSeconds: int = 1800


@dataclass(frozen=True, slots=True, kw_only=True)
class RigGit:
    """Where the repository comes from and how sessions clone it."""

    upstream: str = ""
    branch: str = "main"
    secretName: str = ""
    cloneStrategy: str = CLONE_FULL


@dataclass(frozen=True, slots=True, kw_only=True)
class NamePool:
    """Names of this rig's polecats; `names` come first, then those of the theme, then numbers."""

    theme: str = "mad-max"
    names: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class RigSpec:
    """How a repository is worked on."""

    prefix: str = ""
    git: RigGit = field(default_factory=RigGit)
    gates: list[Gate] = field(default_factory=list)
    protectedPaths: list[str] = field(default_factory=list)
    mergeStrategy: str = MERGE_QUEUE
    maxPolecats: int = 4
    maxGateRuns: int = 2
    profileName: str = ""
    namePool: NamePool = field(default_factory=NamePool)
    budget: Budget | None = None
    suspend: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RigHead:
    """Tip of the rig's branch in our repository; written by the refinery."""

    commit: str = ""
    subject: str = ""
    time: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RigQueue:
    """The merge queue in short; written by the refinery."""

    length: int = 0
    gating: int = 0
    oldestTime: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RigStatus:
    """What was observed of a rig; head, queue and condition RepositoryReady are the refinery's, the rest the operator's."""

    observedGeneration: int = 0
    actor: str = ""
    phase: str = ""
    head: RigHead = field(default_factory=RigHead)
    queue: RigQueue = field(default_factory=RigQueue)
    polecats: int = 0
    activePolecats: int = 0
    gateDigest: str = ""
    conditions: list[Condition] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rig:
    """A git repository under management."""

    apiVersion: str = "gastown.dev/v1alpha1"
    kind: str = "Rig"
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: RigSpec = field(default_factory=RigSpec)
    status: RigStatus = field(default_factory=RigStatus)


def gate_digest(gates: Sequence[Gate]) -> str:
    """64 hex digits that name this exact list of gates; evidence counts only under the digest it was made with."""
    text = json.dumps([to_dict(gate) for gate in gates], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
