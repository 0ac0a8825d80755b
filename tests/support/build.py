"""Builders of objects for tests, one per kind: a valid object with as few words as possible, everything else by keyword.

    build.bead("gp-1", waits_for=["gp-2"], phase="Ready")

Spec fields are given by their API names; what tests set often has a shorter way, named in each builder.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterable, Mapping
from typing import Any

from gastown.api import bead as beads
from gastown.api import conditions, labels, reasons
from gastown.api.agent import Agent, AgentSession, AgentSpec, AgentStatus
from gastown.api.agent_profile import AgentProfile, AgentProfileSpec, AgentProfileStatus, SessionLimits
from gastown.api.bead import Bead, BeadSpec, BeadStatus, BeadTimes, Dependency
from gastown.api.convoy import BeadTemplate, Convoy, ConvoySpec, ConvoyStatus
from gastown.api.core import (
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStatus,
    Job,
    JobStatus,
    Lease,
    LeaseSpec,
    Pod,
    PodStatus,
)
from gastown.api.gate_run import GateRun, GateRunSpec, GateRunStatus
from gastown.api.merge_request import MergeRequest, MergeRequestSpec, MergeRequestStatus
from gastown.api.meta import Condition, ObjectMeta, OwnerReference
from gastown.api.names import gate_job_name, merge_request_name, session_branch
from gastown.api.rig import Gate, Rig, RigSpec, RigStatus, gate_digest
from gastown.api.town import EmergencyStop, Town, TownCapacity, TownSpec

NAMESPACE = "town"
# Tests speak of times relative to this moment.
NOON = 1_750_000_000.0
NOON_TEXT = "2025-06-15T15:06:40Z"
HEAD = "a" * 40
COMMIT = "c" * 40
_versions = itertools.count(1)


def metadata(name: str, **fields: Any) -> ObjectMeta:
    """Metadata as the API server fills it; resourceVersions only go up."""
    given = {"namespace": NAMESPACE, "uid": f"uid-{name}", "generation": 1, "creationTimestamp": NOON_TEXT, **fields}
    return ObjectMeta(name=name, resourceVersion=str(next(_versions)), **given)


def condition(type_: str, status: str = "True", reason: str = "", message: str = "", since: str = NOON_TEXT) -> Condition:
    """A condition of generation 1."""
    return Condition(type=type_, status=status, reason=reason or type_, message=message, lastTransitionTime=since, observedGeneration=1)


def bead(
    name: str = "gp-1",
    *,
    waits_for: Iterable[str] = (),
    phase: str = "",
    landed: bool = False,
    status: Mapping[str, Any] | None = None,
    meta: Mapping[str, Any] | None = None,
    **spec: Any,
) -> Bead:
    """A bead of rig greeter.

    Args:
        waits_for: IDs of beads that block it.
        phase: Recorded phase; Ready also makes it Startable.
        landed: Closed with its commit on main.
    """
    edges = [*spec.pop("dependencies", []), *(Dependency(id=other) for other in waits_for)]
    told: dict[str, Any] = {"phase": phase, "observedGeneration": 1, **(status or {})}
    if phase == beads.PHASE_READY:
        told.setdefault("conditions", [condition(conditions.STARTABLE)])
    if landed:
        spec = {"state": beads.CLOSED, "closeReason": f"landed {COMMIT}", **spec}
        told = {**told, "phase": beads.PHASE_LANDED, "landedCommits": [COMMIT], "conditions": [condition(conditions.LANDED)]}
    return Bead(
        metadata=metadata(name, **(meta or {})),
        spec=BeadSpec(title=spec.pop("title", f"Do {name}"), dependencies=edges, **spec),
        status=BeadStatus(**told),
    )


def held_bead(name: str = "gp-1", agent_name: str = "greeter-nux", *, since: str = NOON_TEXT, **fields: Any) -> Bead:
    """A bead bound to an agent, observed as Hooked."""
    status = {"agentName": agent_name, "times": BeadTimes(hookedTime=since), **fields.pop("status", {})}
    return bead(name, assignee=agent_name, phase=fields.pop("phase", beads.PHASE_HOOKED), status=status, **fields)


def rig(
    name: str = "greeter", *, ready: bool = True, gates: list[Gate] | None = None, meta: Mapping[str, Any] | None = None, **spec: Any
) -> Rig:
    """A rig with prefix gp and one gate; `ready`: its repository is there and it was found Ready."""
    told = [condition(conditions.REPOSITORY_READY), condition(conditions.READY, reason=reasons.ACCEPTED)] if ready else []
    wanted = {"prefix": "gp", "profileName": "apprentice", **spec}
    return Rig(
        metadata=metadata(name, **(meta or {})),
        spec=RigSpec(gates=[gate()] if gates is None else gates, **wanted),
        status=RigStatus(conditions=told),
    )


def gate(name: str = "unit-tests", **fields: Any) -> Gate:
    """A gate that runs a program."""
    return Gate(name=name, **{"command": ["make", "test"], **fields})


def profile(name: str = "apprentice", *, accepted: bool = True, limits: SessionLimits | None = None, **spec: Any) -> AgentProfile:
    """A profile of adapter shell."""
    told = [condition(conditions.READY, "True" if accepted else "False", reasons.ACCEPTED if accepted else reasons.INVALID)]
    return AgentProfile(
        metadata=metadata(name),
        spec=AgentProfileSpec(limits=limits or SessionLimits(), **{"adapter": "shell", "command": ["./work"], **spec}),
        status=AgentProfileStatus(conditions=told),
    )


def agent(
    name: str = "greeter-nux",
    *,
    phase: str = "Idle",
    session: AgentSession | None = None,
    status: Mapping[str, Any] | None = None,
    meta: Mapping[str, Any] | None = None,
    **spec: Any,
) -> Agent:
    """A polecat of rig greeter that has its ServiceAccount and Lease."""
    told = {"conditions": [condition(conditions.READY)], **(status or {})}
    return Agent(
        metadata=metadata(name, **(meta or {})),
        spec=AgentSpec(**{"rigName": "greeter", **spec}),
        status=AgentStatus(phase=phase, session=session or AgentSession(), **told),
    )


def town(*, stopped: bool = False, profile_name: str = "", max_polecats: int = 50) -> Town:
    """A town."""
    stop = EmergencyStop(mode="Active", reason="drill") if stopped else EmergencyStop()
    spec = TownSpec(capacity=TownCapacity(maxPolecats=max_polecats), emergencyStop=stop)
    if profile_name:
        spec = dataclasses.replace(spec, defaults=dataclasses.replace(spec.defaults, profileName=profile_name))
    return Town(metadata=metadata("town"), spec=spec)


def convoy(
    name: str = "moods",
    *,
    templates: Iterable[BeadTemplate] = (),
    beads: Iterable[str] = (),
    status: ConvoyStatus | None = None,
    meta: Mapping[str, Any] | None = None,
    **spec: Any,
) -> Convoy:
    """A convoy."""
    return Convoy(
        metadata=metadata(name, **(meta or {})),
        spec=ConvoySpec(templates=list(templates), beads=list(beads), **spec),
        status=status or ConvoyStatus(),
    )


def template(name: str, *depends_on: str, **fields: Any) -> BeadTemplate:
    """An inline bead of rig greeter."""
    return BeadTemplate(name=name, dependsOn=list(depends_on), **{"title": f"Do {name}", "rigName": "greeter", **fields})


def merge_request(
    bead_name: str = "gp-1",
    agent_name: str = "greeter-nux",
    *,
    head: str = HEAD,
    phase: str = "Pending",
    pinned: bool = False,
    verified: str = "",
    status: Mapping[str, Any] | None = None,
    meta: Mapping[str, Any] | None = None,
) -> MergeRequest:
    """A submitted head.

    Args:
        pinned: The refinery has taken it in and found changes.
        verified: Status of condition Verified, or "" for none; a reason may follow after a slash.
    """
    said = [condition(conditions.HEAD_PINNED)] if pinned else []
    if verified:
        value, _, reason = verified.partition("/")
        said.append(condition(conditions.VERIFIED, value, reason))
    told: dict[str, Any] = {"phase": phase, "changedPaths": 2 if pinned else 0, **(status or {})}
    if phase == "Landed":
        told = {"landedCommit": COMMIT, **told}
        said.append(condition(conditions.LANDED))
    return MergeRequest(
        metadata=metadata(merge_request_name(bead_name, head), **(meta or {})),
        spec=MergeRequestSpec(
            rigName="greeter", beadName=bead_name, agentName=agent_name, head=head, branch=session_branch(agent_name, bead_name)
        ),
        status=MergeRequestStatus(**{"conditions": said, **told}),
    )


def gate_run(name: str = "greeter-run", rig_: Rig | None = None, *, status: GateRunStatus | None = None, **fields: Any) -> GateRun:
    """A run of the rig's gates."""
    digest = gate_digest((rig_ or rig()).spec.gates)
    spec = GateRunSpec(
        **{"rigName": "greeter", "candidate": COMMIT, "tree": "d" * 40, "gateDigest": digest, "sourceURL": "http://repo", **fields}
    )
    return GateRun(metadata=metadata(name), spec=spec, status=status or GateRunStatus())


def job(run: GateRun, gate_name: str = "unit-tests", *, failed: str = "", since: str = NOON_TEXT) -> Job:
    """The Job of a gate; `failed`: reason for which the Job controller gave it up."""
    told = [condition("Failed", "True", failed, since=since)] if failed else []
    return Job(
        metadata=metadata(gate_job_name(run.metadata.name, gate_name), labels={labels.GATE_RUN: run.metadata.name, labels.GATE: gate_name}),
        status=JobStatus(conditions=told),
    )


def gate_pod(run: GateRun, gate_name: str = "unit-tests", **state: Any) -> Pod:
    """The pod of a gate's Job; see `pod` for its state."""
    name = gate_job_name(run.metadata.name, gate_name)
    return pod(f"{name}-abcde", container="gate", labels={labels.GATE_RUN: run.metadata.name, labels.GATE: gate_name}, **state)


def session_pod(agent_name: str = "greeter-nux", bead_name: str = "gp-1", *, number: int = 1, **state: Any) -> Pod:
    """The pod of a session; see `pod` for its state."""
    told = {labels.AGENT: agent_name, labels.BEAD: bead_name, labels.SESSION: str(number)}
    owner = OwnerReference(apiVersion="gastown.dev/v1alpha1", kind="Agent", name=agent_name, uid=f"uid-{agent_name}", controller=True)
    meta = {"uid": f"pod-{agent_name}-{number}", "ownerReferences": [owner], **state.pop("meta", {})}
    return pod(agent_name, container="agent", labels=told, meta=meta, **state)


def lease(agent_name: str = "greeter-nux", *, holder: str = "", renewed: str = "", nudge: str = "", **annotations: str) -> Lease:
    """The Lease of an agent; `holder` is the pod uid of the session that renewed it."""
    told = {**annotations, **({labels.NUDGE: nudge} if nudge else {})}
    return Lease(metadata=metadata(agent_name, annotations=told), spec=LeaseSpec(holderIdentity=holder, renewTime=renewed))


def pod(
    name: str,
    *,
    container: str,
    phase: str = "Running",
    labels: Mapping[str, str] | None = None,
    exit_code: int | None = None,
    message: str | Mapping[str, Any] = "",
    reason: str = "",
    pod_reason: str = "",
    init: ContainerStateTerminated | None = None,
    deleted: str = "",
    meta: Mapping[str, Any] | None = None,
) -> Pod:
    """A pod of one container.

    Args:
        exit_code: If given, the container has ended and the phase follows from it.
        message: Termination message; a mapping is written as JSON.
        reason: Of the ended container.
        pod_reason: Of the pod, such as Evicted.
        init: How its init container ended.
        deleted: deletionTimestamp.
    """
    text = message if isinstance(message, str) else json.dumps(message)
    state = ContainerState()
    if exit_code is not None:
        phase = "Failed" if exit_code else "Succeeded"
        ended = reason or ("Error" if exit_code else "Completed")
        state = ContainerState(
            terminated=ContainerStateTerminated(
                exitCode=exit_code, reason=ended, message=text, startedAt=NOON_TEXT, finishedAt="2025-06-15T15:07:40Z"
            )
        )
    elif phase == "Running":
        state = ContainerState(running=ContainerStateRunning(startedAt=NOON_TEXT))
    inits = [ContainerStatus(name="checkout", state=ContainerState(terminated=init))] if init is not None else []
    return Pod(
        metadata=metadata(name, labels=dict(labels or {}), deletionTimestamp=deleted, **(meta or {})),
        status=PodStatus(
            phase=phase,
            reason=pod_reason,
            startTime=NOON_TEXT,
            initContainerStatuses=inits,
            containerStatuses=[ContainerStatus(name=container, state=state)],
        ),
    )


def at_generation(value: Any, generation: int) -> Any:
    """The object after people changed its spec."""
    return dataclasses.replace(value, metadata=dataclasses.replace(value.metadata, generation=generation))
