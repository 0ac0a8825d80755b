"""Do the rig's gates pass on this tree? One Job per gate, and the verdict from what Kubernetes saw. Pure.

Red is only what the gate's own program said by its exit code. All else (memory, eviction, image, deadline, a lost pod) is an Error,
which the refinery repeats and never blames on a MergeRequest.
"""

from __future__ import annotations

from dataclasses import dataclass

from gastown.actions import Action, Create, SetStatus, Wake
from gastown.api import conditions, gate_run, labels, reasons
from gastown.api.core import ContainerStateTerminated, Job, Pod
from gastown.api.gate_run import GateRun, GateRunResult, GateRunStatus
from gastown.api.meta import Condition
from gastown.api.names import gate_job_name
from gastown.api.rig import GATE_COMMAND, Gate, Rig, gate_digest
from gastown.api.town import Town
from gastown.decide.gate_job import GATE_CONTAINER, GateSettings, gate_job
from gastown.decide.session_stop import is_stopped
from gastown.decide.times import is_recent, seconds_since, time_text

# A run that ends sooner is told once, with its verdict. Times in objects are whole seconds, so it has 2 s at least.
SETTLE_SECONDS = 3.0
# A Job that is over while its pod is nowhere to be seen: the watches may differ this long.
POD_SECONDS = 10.0
LOG_TAIL_LIMIT = 4096
# Reasons of a terminated container that say that Kubernetes, not the program, ended it or could not start it.
_NOT_ITS_OWN = frozenset({"OOMKilled", "StartError", "ContainerCannotRun", "ContainerStatusUnknown", "DeadlineExceeded", "Evicted"})
# A shell's exit code for SIGKILL and SIGTERM. Programs hardly send them to themselves; the kernel does when memory is short (which a
# kubelet tells as OOMKilled, but not always), and a node that shuts down. To call that red would blame a change for a laptop's lid.
_KILLED_FROM_OUTSIDE = {128 + 9: "Killed", 128 + 15: "Terminated"}


@dataclass(frozen=True, slots=True)
class GateRunSeen:
    """All that bears on one GateRun.

    Attributes:
        jobs: Its Jobs.
        pods: Their pods, by the gate's name in label gastown.dev/gate.
    """

    run: GateRun
    settings: GateSettings
    rig: Rig | None = None
    town: Town | None = None
    jobs: tuple[Job, ...] = ()
    pods: tuple[Pod, ...] = ()


def decide(seen: GateRunSeen, now: float) -> list[Action]:
    """Make the Jobs that are missing, and tell the verdicts.

    Args:
        now: Unix seconds.
    """
    run = seen.run
    if run.metadata.deletionTimestamp or is_over(run):
        return []
    if (refusal := _refusal(seen)) is not None:
        return [SetStatus(run, _told(run, (), "False", *refusal, now), reason=refusal[0])]
    assert seen.rig is not None
    gates = seen.rig.spec.gates
    present = {job.metadata.name for job in seen.jobs}
    results = tuple(_result(seen, gate, now) for gate in gates)
    missing = [
        gate
        for gate, result in zip(gates, results, strict=True)
        if result.verdict == gate_run.VERDICT_PENDING and gate_job_name(run.metadata.name, gate.name) not in present
    ]
    if missing and is_stopped(seen.town):
        message = "the town's emergency stop is on: no Job is made"
        return [SetStatus(run, _told(run, results, "Unknown", reasons.EMERGENCY_STOP, message, now), reason=message)]
    actions: list[Action] = [Create(gate_job(run, gate, seen.settings), reason=f"gate {gate.name}") for gate in missing]
    status = _told(run, results, *_verdict(results), now)
    if status.phase == gate_run.PHASE_RUNNING and is_recent(run.metadata.creationTimestamp, SETTLE_SECONDS, now):
        return [*actions, Wake(SETTLE_SECONDS, reason="the run may be a short one")]
    wait = [Wake(POD_SECONDS, reason="a pod may yet be seen")] if status.phase == gate_run.PHASE_RUNNING and _has_ended_job(seen) else []
    return [*actions, SetStatus(run, status, reason=status.phase), *wait]


def is_over(run: GateRun) -> bool:
    """Whether the verdict stands."""
    succeeded = conditions.find_condition(run.status.conditions, conditions.SUCCEEDED)
    return succeeded is not None and succeeded.status != "Unknown"


def _refusal(seen: GateRunSeen) -> tuple[str, str] | None:
    """Why the gates can not be run at all: reason and message."""
    run, rig = seen.run, seen.rig
    if rig is None:
        return reasons.UNKNOWN_RIG, f"Rig {run.spec.rigName} does not exist"
    present = gate_digest(rig.spec.gates)
    if present != run.spec.gateDigest:
        text = f"the gates of Rig {run.spec.rigName} are now {present[:8]}, not {run.spec.gateDigest[:8]}; a new GateRun is needed"
        return reasons.GATES_CHANGED, text
    if not rig.spec.gates:
        return reasons.GATE_ERROR, f"Rig {run.spec.rigName} has no gates, so nothing can pass them; add one to spec.gates"
    odd = [gate.name for gate in rig.spec.gates if gate.type != GATE_COMMAND]
    if odd:
        text = f"gates {', '.join(odd)} are not of type Command, and this version runs no others; remove them from Rig {run.spec.rigName}"
        return reasons.GATE_ERROR, text
    return None


def _result(seen: GateRunSeen, gate: Gate, now: float) -> GateRunResult:
    """What is known of one gate; a verdict once recorded stands."""
    name = gate_job_name(seen.run.metadata.name, gate.name)
    before = next((result for result in seen.run.status.gates if result.name == gate.name), None)
    if before is not None and before.verdict in (gate_run.VERDICT_PASSED, gate_run.VERDICT_FAILED, gate_run.VERDICT_ERROR):
        return before
    job = next((job for job in seen.jobs if job.metadata.name == name), None)
    pod = next((pod for pod in seen.pods if pod.metadata.labels.get(labels.GATE) == gate.name), None)
    failure = _job_failure(job)
    if failure is not None and failure.reason == "DeadlineExceeded":
        return _error(gate, name, "DeadlineExceeded", f"ran longer than {gate.timeoutSeconds} s")
    if pod is not None and (ended := _gate_container(pod)) is not None:
        return _of_program(gate, name, pod, ended)
    if pod is not None and pod.status.phase == "Failed":
        return _error(gate, name, pod.status.reason or _init_reason(pod), pod.status.message or _init_message(pod))
    if failure is not None and pod is None and (seconds_since(failure.lastTransitionTime, now) or 0.0) > POD_SECONDS:
        return _error(gate, name, failure.reason or "PodLost", failure.message)
    start = _start_time(pod)
    return GateRunResult(name=gate.name, jobName=name, startTime=start)


def _of_program(gate: Gate, job_name: str, pod: Pod, ended: ContainerStateTerminated) -> GateRunResult:
    """The verdict by exit code, if the program came to its own end."""
    if ended.exitCode == 0 and not pod.metadata.deletionTimestamp:
        verdict, reason = gate_run.VERDICT_PASSED, ""
    elif ended.reason in _NOT_ITS_OWN or pod.status.reason or pod.metadata.deletionTimestamp:
        verdict, reason = gate_run.VERDICT_ERROR, ended.reason if ended.reason in _NOT_ITS_OWN else pod.status.reason or "Disrupted"
    elif ended.exitCode in _KILLED_FROM_OUTSIDE:
        verdict, reason = gate_run.VERDICT_ERROR, _KILLED_FROM_OUTSIDE[ended.exitCode]
    else:
        verdict, reason = gate_run.VERDICT_FAILED, ""
    return GateRunResult(
        name=gate.name,
        verdict=verdict,
        reason=reason,
        exitCode=ended.exitCode,
        jobName=job_name,
        startTime=ended.startedAt,
        finishTime=ended.finishedAt,
        logTail=ended.message[-LOG_TAIL_LIMIT:],
    )


def _error(gate: Gate, job_name: str, reason: str, message: str) -> GateRunResult:
    return GateRunResult(
        name=gate.name, verdict=gate_run.VERDICT_ERROR, reason=reason, exitCode=-1, jobName=job_name, logTail=message[-LOG_TAIL_LIMIT:]
    )


def _gate_container(pod: Pod) -> ContainerStateTerminated | None:
    return next((status.state.terminated for status in pod.status.containerStatuses if status.name == GATE_CONTAINER), None)


def _start_time(pod: Pod | None) -> str:
    statuses = pod.status.containerStatuses if pod is not None else []
    return next((status.state.running.startedAt for status in statuses if status.state.running is not None), "")


def _init_reason(pod: Pod) -> str:
    ended = next((status.state.terminated for status in pod.status.initContainerStatuses if status.state.terminated is not None), None)
    return "SourceFailed" if ended is not None and ended.exitCode != 0 else "PodFailed"


def _init_message(pod: Pod) -> str:
    states = [status.state.terminated for status in pod.status.initContainerStatuses]
    return next((state.message for state in states if state is not None and state.exitCode != 0), "")


def _job_failure(job: Job | None) -> Condition | None:
    if job is None:
        return None
    told = (
        condition for condition in job.status.conditions if condition.type in ("Failed", "FailureTarget") and condition.status == "True"
    )
    return next(told, None)


def _has_ended_job(seen: GateRunSeen) -> bool:
    return any(_job_failure(job) is not None for job in seen.jobs)


def _verdict(results: tuple[GateRunResult, ...]) -> tuple[str, str, str]:
    """Status, reason and message of condition Succeeded; red and Error are told when all gates have ended, for a full picture."""
    by_verdict: dict[str, list[str]] = {}
    for result in results:
        by_verdict.setdefault(result.verdict, []).append(result.name)
    if gate_run.VERDICT_PENDING in by_verdict:
        return "Unknown", reasons.RUNNING, f"{', '.join(by_verdict[gate_run.VERDICT_PENDING])} not finished"
    if gate_run.VERDICT_FAILED in by_verdict:
        return "False", reasons.FAILED, f"red: {', '.join(by_verdict[gate_run.VERDICT_FAILED])}"
    if gate_run.VERDICT_ERROR in by_verdict:
        why = "; ".join(f"{result.name}: {result.reason}" for result in results if result.verdict == gate_run.VERDICT_ERROR)
        return "False", reasons.GATE_ERROR, f"did not come to their own end: {why}"
    return "True", reasons.PASSED, f"{len(results)} passed"


_PHASES = {
    reasons.RUNNING: gate_run.PHASE_RUNNING,
    reasons.EMERGENCY_STOP: gate_run.PHASE_PENDING,
    reasons.PASSED: gate_run.PHASE_PASSED,
    reasons.FAILED: gate_run.PHASE_FAILED,
}


def _told(run: GateRun, results: tuple[GateRunResult, ...], status: str, reason: str, message: str, now: float) -> GateRunStatus:
    found = run.status.conditions
    generation = run.metadata.generation
    for condition in (
        Condition(type=conditions.READY, status="True", reason=reasons.ACCEPTED, message="accepted", observedGeneration=generation),
        Condition(type=conditions.SUCCEEDED, status=status, reason=reason, message=message, observedGeneration=generation),
    ):
        found = conditions.with_condition(found, condition, time_text(now))
    return GateRunStatus(
        observedGeneration=generation,
        actor=run.status.actor,
        phase=_PHASES.get(reason, gate_run.PHASE_ERROR),
        gates=list(results),
        conditions=list(found),
    )
