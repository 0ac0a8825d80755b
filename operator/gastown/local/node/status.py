"""From the records of a pod's containers to the status the API server gets. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from gastown.local.node.lifecycle import is_initialized, may_restart, restart_time
from gastown.local.node.records import Container, Role, Run

NODE_ADDRESS = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What is known about a pod beside its containers.

    Attributes:
        started: When the node took the pod on, seconds since the epoch.
        has_volumes: Its volumes are made.
        failure_reason, failure_message: Set when the node itself ended the pod, such as DeadlineExceeded.
        is_over: Nothing runs and nothing will be started any more, whatever the restart policy says.
    """

    started: float
    has_volumes: bool = True
    failure_reason: str = ""
    failure_message: str = ""
    is_over: bool = False


def pod_status(pod: Mapping[str, Any], containers: Sequence[Container], facts: PodFacts, now: float) -> dict[str, Any]:
    """The fields of a pod's status that its node owns.

    Args:
        pod: As last seen from the API; its conditions keep their times where nothing changed.
        now: Seconds since the epoch.
    """
    policy = pod["spec"].get("restartPolicy", "Always")
    phase = pod_phase(containers, policy, facts)
    before = [each for each in containers if each.role is not Role.MAIN]
    mains = [each for each in containers if each.role is Role.MAIN]
    initialized = is_initialized(containers)
    status: dict[str, Any] = {
        "phase": phase,
        "hostIP": NODE_ADDRESS,
        "hostIPs": [{"ip": NODE_ADDRESS}],
        "startTime": timestamp(facts.started),
        "conditions": _conditions(pod, containers, facts, phase, initialized=initialized, now=now),
        "containerStatuses": [_container_status(pod, each, facts, now) for each in mains],
    }
    if before:
        status["initContainerStatuses"] = [_container_status(pod, each, facts, now) for each in before]
    # Not while anything of it still runs: a pod that is told to have failed frees what it holds.
    if facts.failure_reason and phase == "Failed":
        status |= {"reason": facts.failure_reason, "message": facts.failure_message}
    if generation := pod["metadata"].get("generation"):
        status["observedGeneration"] = generation
    return status


def pod_phase(containers: Sequence[Container], restart_policy: str, facts: PodFacts) -> str:
    """The phase by the rules of the pod life cycle; a pod whose sidecars still run is not over."""
    mains = [each for each in containers if each.role is Role.MAIN]
    if facts.is_over or facts.failure_reason:
        if any(each.is_running for each in containers):
            return "Running" if any(each.current for each in mains) else "Pending"
        succeeded = all(each.last_exit is not None and each.last_exit.code == 0 for each in mains)
        return "Succeeded" if succeeded and not facts.failure_reason else "Failed"
    if not any(each.current for each in mains):
        return _phase_before_main(containers, restart_policy)
    if any(each.current is None for each in mains):
        return "Pending"
    if any(each.is_running or may_restart(each, restart_policy) for each in mains) or any(each.is_running for each in containers):
        return "Running"
    return "Succeeded" if all(each.last_exit is not None and each.last_exit.code == 0 for each in mains) else "Failed"


def _phase_before_main(containers: Sequence[Container], restart_policy: str) -> str:
    failed = any(each.role is Role.INIT and each.last_exit is not None and each.last_exit.code != 0 for each in containers)
    over = failed and restart_policy == "Never" and not any(each.is_running for each in containers)
    return "Failed" if over else "Pending"


def is_container_ready(container: Container) -> bool:
    """Whether a container counts as ready: it runs and is started, and its readiness probe agrees."""
    return container.is_running and container.is_started and container.is_ready


def timestamp(seconds: float) -> str:
    """Seconds since the epoch as the API writes times."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _container_status(pod: Mapping[str, Any], container: Container, facts: PodFacts, now: float) -> dict[str, Any]:
    run = container.current
    is_done_init = container.role is Role.INIT and container.last_exit is not None and container.last_exit.code == 0
    state, last_state = _states(pod, container, facts, now)
    status: dict[str, Any] = {
        "name": container.name,
        "image": container.spec.get("image", ""),
        "imageID": "",
        "ready": is_done_init or (container.role is not Role.INIT and is_container_ready(container)),
        "started": container.is_running and (container.is_started or container.role is Role.INIT),
        "restartCount": container.latest.number if container.latest is not None else 0,
        "state": state,
        "lastState": last_state,
    }
    if run is not None:
        status["containerID"] = _container_id(pod, container, run)
    return status


def _states(pod: Mapping[str, Any], container: Container, facts: PodFacts, now: float) -> tuple[dict[str, Any], dict[str, Any]]:
    run, policy = container.current, pod["spec"].get("restartPolicy", "Always")
    before = _terminated(pod, container, container.previous) if container.previous is not None else {}
    if run is None:
        default = "PodInitializing" if pod["spec"].get("initContainers") else "ContainerCreating"
        return _waiting(container.waiting_reason or default, container.waiting_message), before
    if run.exit is None:
        return {"running": {"startedAt": timestamp(run.started)}}, before
    terminated = _terminated(pod, container, run)
    will_restart = may_restart(container, policy) and not facts.is_over and not facts.failure_reason
    if will_restart and container.waiting_reason:
        return _waiting(container.waiting_reason, container.waiting_message), terminated
    if will_restart and restart_time(run) > now:
        seconds = round(restart_time(run) - run.exit.finished)
        name = f"{pod['metadata']['name']}_{pod['metadata']['namespace']}"
        return _waiting("CrashLoopBackOff", f"back-off {seconds}s restarting failed container={container.name} pod={name}"), terminated
    return terminated, before


def _waiting(reason: str, message: str) -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message} if message else {"reason": reason}}


def _terminated(pod: Mapping[str, Any], container: Container, run: Run) -> dict[str, Any]:
    if run.exit is None:
        return {}
    detail: dict[str, Any] = {
        "exitCode": run.exit.code,
        "reason": run.exit.reason or ("Completed" if run.exit.code == 0 else "Error"),
        "startedAt": timestamp(run.exit.started),
        "finishedAt": timestamp(run.exit.finished),
        "containerID": _container_id(pod, container, run),
    }
    if text := run.message or run.exit.message:
        detail["message"] = text
    return {"terminated": detail}


def _container_id(pod: Mapping[str, Any], container: Container, run: Run) -> str:
    return f"process://{pod['metadata']['uid']}-{container.name}-{run.number}"


def _conditions(
    pod: Mapping[str, Any], containers: Sequence[Container], facts: PodFacts, phase: str, *, initialized: bool, now: float
) -> list[dict[str, Any]]:
    mains = [each for each in containers if each.role is Role.MAIN]
    watched = [each for each in containers if each.role is not Role.INIT]
    unready = [each.name for each in watched if not is_container_ready(each)]
    is_terminal = phase in ("Succeeded", "Failed")
    found: dict[str, tuple[bool, str, str]] = {
        "PodReadyToStartContainers": (facts.has_volumes and not is_terminal, "", ""),
        "Initialized": (True, "PodCompleted" if phase == "Succeeded" else "", ""),
    }
    if not initialized and phase != "Succeeded":
        pending = [each.name for each in containers if each.role is not Role.MAIN and (each.last_exit is None or each.last_exit.code != 0)]
        found["Initialized"] = (False, "ContainersNotInitialized", f"containers with incomplete status: [{' '.join(pending)}]")
    if phase == "Succeeded":
        not_ready = (False, "PodCompleted", "")
    elif phase == "Failed":
        not_ready = (False, "PodFailed", "")
    else:
        not_ready = (False, "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]")
    all_ready = bool(mains) and not unready and not is_terminal and initialized
    found["ContainersReady"] = (True, "", "") if all_ready else not_ready
    found["Ready"] = _readiness(pod, found["ContainersReady"])
    return [_condition(pod, kind, *values, now=now) for kind, values in found.items()]


def _readiness(pod: Mapping[str, Any], containers_ready: tuple[bool, str, str]) -> tuple[bool, str, str]:
    if not containers_ready[0]:
        return containers_ready
    told = {each["type"]: each["status"] for each in pod.get("status", {}).get("conditions") or []}
    missing = [gate["conditionType"] for gate in pod["spec"].get("readinessGates") or [] if told.get(gate["conditionType"]) != "True"]
    if missing:
        return False, "ReadinessGatesNotReady", f"readiness gates without status True: [{' '.join(missing)}]"
    return containers_ready


def _condition(pod: Mapping[str, Any], kind: str, is_true: bool, reason: str, message: str, *, now: float) -> dict[str, Any]:
    told = next((each for each in pod.get("status", {}).get("conditions") or [] if each["type"] == kind), None)
    text = "True" if is_true else "False"
    unchanged = told is not None and told["status"] == text and told.get("lastTransitionTime")
    condition: dict[str, Any] = {"type": kind, "status": text, "lastTransitionTime": unchanged or timestamp(now)}
    # Explicit nulls: a strategic merge would keep the old reason of a condition that has none now.
    return condition | {"reason": reason or None, "message": message or None}
