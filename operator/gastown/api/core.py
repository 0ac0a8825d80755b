"""The few fields we read of Kubernetes' own kinds; what is written is built as plain dicts by the deciders."""

from __future__ import annotations

from dataclasses import dataclass, field

from .meta import Condition, ObjectMeta


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerStateTerminated:
    """How a container ended."""

    exitCode: int = 0
    reason: str = ""
    message: str = ""
    startedAt: str = ""
    finishedAt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerStateRunning:
    """Since when a container runs."""

    startedAt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerStateWaiting:
    """Why a container does not run yet."""

    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerState:
    """Exactly one of the three is set."""

    running: ContainerStateRunning | None = None
    waiting: ContainerStateWaiting | None = None
    terminated: ContainerStateTerminated | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerStatus:
    """One container of a pod."""

    name: str = ""
    ready: bool = False
    restartCount: int = 0
    state: ContainerState = field(default_factory=ContainerState)


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSpec:
    """Where a pod runs."""

    nodeName: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodCondition:
    """One observation about a pod; its times may be null, and nobody here needs them."""

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodStatus:
    """How a pod is."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    startTime: str = ""
    conditions: list[PodCondition] = field(default_factory=list)
    initContainerStatuses: list[ContainerStatus] = field(default_factory=list)
    containerStatuses: list[ContainerStatus] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A session or gate pod."""

    apiVersion: str = "v1"
    kind: str = "Pod"
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: PodSpec = field(default_factory=PodSpec)
    status: PodStatus = field(default_factory=PodStatus)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """How a Job is; its conditions are Complete, Failed, FailureTarget, SuccessCriteriaMet."""

    active: int = 0
    succeeded: int = 0
    failed: int = 0
    startTime: str = ""
    completionTime: str = ""
    conditions: list[Condition] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A gate Job."""

    apiVersion: str = "batch/v1"
    kind: str = "Job"
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    status: JobStatus = field(default_factory=JobStatus)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseSpec:
    """Who holds a Lease and when it was renewed (RFC 3339 with microseconds)."""

    holderIdentity: str = ""
    leaseDurationSeconds: int = 0
    renewTime: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The heartbeat of an agent."""

    apiVersion: str = "coordination.k8s.io/v1"
    kind: str = "Lease"
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: LeaseSpec = field(default_factory=LeaseSpec)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAccount:
    """The identity of an agent's pods."""

    apiVersion: str = "v1"
    kind: str = "ServiceAccount"
    metadata: ObjectMeta = field(default_factory=ObjectMeta)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Only ever created, so nothing of it is read."""

    apiVersion: str = "v1"
    kind: str = "Event"
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
