"""Which containers of a pod to start or stop now, and when to look again. Pure: the caller brings the clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gastown.local.node.records import Container, Role, Run

FIRST_BACKOFF_SECONDS = 10.0
LONGEST_BACKOFF_SECONDS = 300.0
# A run this long was healthy: the next crash starts a new series.
HEALTHY_SECONDS = 600.0


@dataclass(slots=True)
class Plan:
    """What to do for a pod.

    Attributes:
        start: Containers to start now.
        stop: Sidecars to end, the last one first.
        wake_time: When something will be due, seconds since the epoch; None if only an event can change anything.
        is_finished: All containers have run to their end; the pod is Succeeded or Failed.
    """

    start: list[Container] = field(default_factory=list)
    stop: list[Container] = field(default_factory=list)
    wake_time: float | None = None
    is_finished: bool = False


def plan(containers: Sequence[Container], restart_policy: str, now: float) -> Plan:
    """Decide the next steps of a pod that is to run.

    Args:
        containers: In the order of `records.containers_of`.
        restart_policy: The pod's.
        now: Seconds since the epoch.
    """
    result = Plan()
    before = [each for each in containers if each.role is not Role.MAIN]
    mains = [each for each in containers if each.role is Role.MAIN]
    if _main_work_is_over(before, mains, restart_policy):
        result.stop = [each for each in reversed(before) if each.is_running]
        result.is_finished = not any(each.is_running for each in containers)
        return result
    has_started_mains = any(each.current is not None for each in mains)
    for container in before:
        if container.role is Role.SIDECAR:
            _start_or_wait(container, result, now)
            if has_started_mains or (container.is_running and container.is_started):
                continue
            return result
        if has_started_mains or _succeeded(container):
            continue
        _start_or_wait(container, result, now)
        return result
    for container in mains:
        if container.last_exit is None or may_restart(container, restart_policy):
            _start_or_wait(container, result, now)
    return result


def may_restart(container: Container, restart_policy: str) -> bool:
    """Whether a container that ended is to be started again."""
    if container.role is Role.SIDECAR:
        return True
    if restart_policy == "Never" or container.last_exit is None:
        return False
    if container.role is Role.INIT or restart_policy == "OnFailure":
        return container.last_exit.code != 0
    return True


def is_initialized(containers: Sequence[Container]) -> bool:
    """Whether every init container has done its part, so that the main containers may run."""
    if any(each.current is not None for each in containers if each.role is Role.MAIN):
        return True
    return all(_succeeded(each) if each.role is Role.INIT else each.is_started for each in containers if each.role is not Role.MAIN)


def backoff_seconds(streak: int) -> float:
    """Wait before the restart that follows a run: the first restart is at once, then 10 s, doubled up to 5 minutes."""
    if streak <= 0:
        return 0.0
    return float(min(FIRST_BACKOFF_SECONDS * 2 ** min(streak - 1, 10), LONGEST_BACKOFF_SECONDS))


def restart_time(run: Run) -> float:
    """When a run that ended may be followed by the next one, seconds since the epoch; 0 if it still runs."""
    if run.exit is None:
        return 0.0
    return run.exit.finished + backoff_seconds(next_streak(run) - 1)


def next_streak(run: Run | None) -> int:
    """The streak of the run after this one; 0 for the first."""
    if run is None:
        return 0
    lasted = run.exit.finished - run.exit.started if run.exit is not None else 0.0
    return 1 if lasted >= HEALTHY_SECONDS else run.streak + 1


def _start_or_wait(container: Container, result: Plan, now: float) -> None:
    if container.is_running:
        return
    due = max(container.retry_time, restart_time(container.current) if container.current is not None else 0.0)
    if due <= now:
        result.start.append(container)
    elif result.wake_time is None or due < result.wake_time:
        result.wake_time = due


def _succeeded(container: Container) -> bool:
    return container.last_exit is not None and container.last_exit.code == 0


def _main_work_is_over(before: Sequence[Container], mains: Sequence[Container], restart_policy: str) -> bool:
    has_started_mains = any(each.current is not None for each in mains)
    if not has_started_mains:
        # A failed init container is the end only where nothing may be restarted.
        failed = [each for each in before if each.role is Role.INIT and each.last_exit is not None and each.last_exit.code != 0]
        return bool(failed) and restart_policy == "Never"
    return all(each.last_exit is not None and not may_restart(each, restart_policy) for each in mains)
