"""Which containers are started, restarted, held back and stopped, and what the pod is called meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gastown.local.node.lifecycle import backoff_seconds, is_initialized, may_restart, next_streak, plan, restart_time
from gastown.local.node.records import Container, Role, Run, containers_of
from gastown.local.node.run_files import RunExit
from gastown.local.node.status import PodFacts, pod_phase, pod_status

NOON = 1_000_000.0
FACTS = PodFacts(started=NOON)


def run(code: int | None = None, *, number: int = 0, streak: int = 0, lasted: float = 1.0, ended: float = NOON) -> Run:
    """A run of a container; without a code it goes on."""
    found = None if code is None else RunExit(code, ended - lasted, ended)
    return Run(number, streak, Path("/nowhere"), ended - lasted, exit=found)


def container(role: Role = Role.MAIN, current: Run | None = None, *, name: str = "main", previous: Run | None = None) -> Container:
    """A container; one that runs is started and ready."""
    is_running = current is not None and current.exit is None
    return Container(name, role, {"image": "none"}, current, previous, is_started=is_running, is_ready=is_running)


def pod(restart_policy: str = "Always", **spec: Any) -> dict[str, Any]:
    """A pod for the status; its containers are given apart."""
    metadata = {"name": "furiosa", "namespace": "town", "uid": "u-1", "generation": 3}
    return {"metadata": metadata, "spec": {"restartPolicy": restart_policy, **spec}}


def names(containers: list[Container]) -> list[str]:
    return [each.name for each in containers]


def test_main_containers_wait_for_init_containers_one_after_the_other() -> None:
    first, second, main = container(Role.INIT, name="a"), container(Role.INIT, name="b"), container()
    assert names(plan([first, second, main], "Always", NOON).start) == ["a"]
    first.current = run()
    assert plan([first, second, main], "Always", NOON).start == []
    first.current = run(0)
    assert names(plan([first, second, main], "Always", NOON).start) == ["b"]
    second.current = run(0)
    assert names(plan([first, second, main], "Always", NOON).start) == ["main"]


def test_all_main_containers_start_together() -> None:
    assert names(plan([container(name="a"), container(name="b")], "Never", NOON).start) == ["a", "b"]


def test_a_sidecar_must_be_started_before_what_comes_after_it() -> None:
    sidecar, main = container(Role.SIDECAR, run(), name="proxy"), container()
    sidecar.is_started = False
    assert plan([sidecar, main], "Never", NOON).start == []
    sidecar.is_started = True
    assert names(plan([sidecar, main], "Never", NOON).start) == ["main"]


def test_a_sidecar_that_ends_is_restarted_whatever_the_policy() -> None:
    assert names(plan([container(Role.SIDECAR, run(0), name="proxy"), container(current=run())], "Never", NOON).start) == ["proxy"]


def test_sidecars_are_stopped_in_reverse_when_the_work_is_done() -> None:
    sidecars = [container(Role.SIDECAR, run(), name=name) for name in ("a", "b")]
    step = plan([*sidecars, container(current=run(0))], "Never", NOON)
    assert (names(step.stop), step.is_finished) == (["b", "a"], False)
    for each in sidecars:
        each.current = run(143)
    assert plan([*sidecars, container(current=run(0))], "Never", NOON).is_finished


def test_a_failed_init_container_ends_a_pod_that_never_restarts() -> None:
    containers = [container(Role.INIT, run(1), name="a"), container()]
    assert plan(containers, "Never", NOON).is_finished
    assert pod_phase(containers, "Never", FACTS) == "Failed"


def test_a_failed_init_container_is_tried_again_otherwise() -> None:
    containers = [container(Role.INIT, run(1), name="a"), container()]
    assert names(plan(containers, "OnFailure", NOON).start) == ["a"]
    assert pod_phase(containers, "OnFailure", FACTS) == "Pending"


def test_what_is_held_back_is_looked_at_again_when_it_is_due() -> None:
    held = container(current=run(1, number=1, streak=1))
    step = plan([held], "Always", NOON + 4)
    assert (step.start, step.wake_time) == ([], NOON + 10)
    assert names(plan([held], "Always", NOON + 10).start) == ["main"]


@pytest.mark.parametrize(
    ("policy", "role", "code", "expected"),
    [
        ("Always", Role.MAIN, 0, True),
        ("Always", Role.MAIN, 1, True),
        ("Always", Role.INIT, 0, False),
        ("OnFailure", Role.MAIN, 0, False),
        ("OnFailure", Role.MAIN, 1, True),
        ("Never", Role.MAIN, 1, False),
        ("Never", Role.INIT, 1, False),
        ("Never", Role.SIDECAR, 0, True),
    ],
)
def test_the_restart_policy_decides(policy: str, role: Role, code: int, expected: bool) -> None:
    assert may_restart(container(role, run(code)), policy) is expected


def test_back_off_starts_at_once_then_doubles_up_to_five_minutes() -> None:
    assert [backoff_seconds(streak) for streak in range(8)] == [0, 10, 20, 40, 80, 160, 300, 300]


@given(st.integers(0, 10_000))
def test_back_off_never_shrinks_and_never_passes_its_limit(streak: int) -> None:
    assert backoff_seconds(streak) <= backoff_seconds(streak + 1) <= 300


def test_a_long_healthy_run_begins_a_new_series() -> None:
    assert next_streak(run(1, streak=5, lasted=30)) == 6
    assert next_streak(run(1, streak=5, lasted=601)) == 1
    assert restart_time(run(1, streak=5, lasted=601)) == NOON
    assert next_streak(None) == 0


@pytest.mark.parametrize(
    ("mains", "policy", "facts", "expected"),
    [
        pytest.param([None], "Always", FACTS, "Pending", id="not started"),
        pytest.param([run(), None], "Always", FACTS, "Pending", id="one of two started"),
        pytest.param([run(), run()], "Always", FACTS, "Running", id="both run"),
        pytest.param([run(), run(0)], "Never", FACTS, "Running", id="one has ended"),
        pytest.param([run(1)], "Always", FACTS, "Running", id="is to be restarted"),
        pytest.param([run(0), run(0)], "Never", FACTS, "Succeeded", id="all well"),
        pytest.param([run(0), run(3)], "Never", FACTS, "Failed", id="one failed"),
        pytest.param([run(0), run(3)], "OnFailure", FACTS, "Running", id="one will be tried again"),
        pytest.param([run(143)], "Always", PodFacts(NOON, is_over=True), "Failed", id="ended by deletion"),
        pytest.param([run(0)], "Always", PodFacts(NOON, is_over=True), "Succeeded", id="ended well by deletion"),
        pytest.param([None], "Always", PodFacts(NOON, is_over=True), "Failed", id="deleted before it started"),
        pytest.param([run()], "Never", PodFacts(NOON, failure_reason="DeadlineExceeded"), "Running", id="past its deadline, still ending"),
        pytest.param([run(0)], "Never", PodFacts(NOON, failure_reason="DeadlineExceeded"), "Failed", id="past its deadline"),
    ],
)
def test_the_phase_follows_from_the_containers(mains: list[Run | None], policy: str, facts: PodFacts, expected: str) -> None:
    containers = [container(current=each, name=f"c{number}") for number, each in enumerate(mains)]
    assert pod_phase(containers, policy, facts) == expected


def test_a_pod_is_not_over_while_its_sidecar_runs() -> None:
    assert pod_phase([container(Role.SIDECAR, run(), name="proxy"), container(current=run(0))], "Never", FACTS) == "Running"


def test_a_running_pod_is_told_ready_with_whole_conditions() -> None:
    status = pod_status(pod(), [container(current=run(ended=NOON, lasted=0))], FACTS, NOON)
    when = {"lastTransitionTime": "1970-01-12T13:46:40Z", "reason": None, "message": None}
    kinds = ("PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready")
    assert status["conditions"] == [{"type": kind, "status": "True", **when} for kind in kinds]
    assert status["containerStatuses"] == [
        {
            "name": "main",
            "image": "none",
            "imageID": "",
            "ready": True,
            "started": True,
            "restartCount": 0,
            "state": {"running": {"startedAt": "1970-01-12T13:46:40Z"}},
            "lastState": {},
            "containerID": "process://u-1-main-0",
        }
    ]
    assert (status["phase"], status["observedGeneration"], status["hostIP"]) == ("Running", 3, "127.0.0.1")
    assert "podIP" not in status


def test_a_condition_keeps_its_time_while_it_does_not_change() -> None:
    told = pod()
    told["status"] = {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"}]}
    main = container(current=run())
    before = pod_status(told, [main], FACTS, NOON)["conditions"][-1]
    assert before["lastTransitionTime"] == "2020-01-01T00:00:00Z"
    main.is_ready = False
    after = pod_status(told, [main], FACTS, NOON)["conditions"][-1]
    assert (after["status"], after["lastTransitionTime"]) == ("False", "1970-01-12T13:46:40Z")
    assert after["message"] == "containers with unready status: [main]"


def test_readiness_gates_hold_a_pod_back() -> None:
    told = pod(readinessGates=[{"conditionType": "example.com/ok"}])
    conditions = {each["type"]: each for each in pod_status(told, [container(current=run())], FACTS, NOON)["conditions"]}
    assert conditions["ContainersReady"]["status"] == "True"
    assert conditions["Ready"]["reason"] == "ReadinessGatesNotReady"


def test_a_held_back_container_waits_and_shows_how_it_ended() -> None:
    status = pod_status(pod(), [container(current=run(7, number=2, streak=2))], FACTS, NOON + 1)["containerStatuses"][0]
    assert status["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert "back-off 20s" in status["state"]["waiting"]["message"]
    assert status["lastState"]["terminated"]["exitCode"] == 7
    assert status["restartCount"] == 2


def test_a_restarted_container_shows_its_previous_end() -> None:
    status = pod_status(pod(), [container(current=run(number=1), previous=run(9))], FACTS, NOON)["containerStatuses"][0]
    assert "running" in status["state"]
    assert status["lastState"]["terminated"]["exitCode"] == 9


def test_main_containers_say_that_the_pod_is_initializing() -> None:
    status = pod_status(pod(initContainers=[{"name": "prepare"}]), [container(Role.INIT, run(), name="prepare"), container()], FACTS, NOON)
    assert status["containerStatuses"][0]["state"] == {"waiting": {"reason": "PodInitializing"}}
    assert status["conditions"][1]["message"] == "containers with incomplete status: [prepare]"
    assert not is_initialized([container(Role.INIT, run(), name="prepare"), container()])


def test_a_pods_containers_are_sorted_into_roles() -> None:
    spec = {
        "initContainers": [{"name": "a"}, {"name": "b", "restartPolicy": "Always"}],
        "containers": [{"name": "c"}],
    }
    assert [(each.name, each.role) for each in containers_of({"spec": spec})] == [("a", Role.INIT), ("b", Role.SIDECAR), ("c", Role.MAIN)]


states = st.sampled_from([None, run(), run(0), run(1)])


@given(
    st.lists(states, max_size=3),
    st.lists(states, max_size=3),
    st.lists(states, min_size=1, max_size=3),
    st.sampled_from(["Always", "OnFailure", "Never"]),
)
def test_a_pod_always_either_has_something_to_do_or_waits_or_is_over(
    inits: list[Run | None], sidecars: list[Run | None], mains: list[Run | None], policy: str
) -> None:
    containers = [
        container(role, each, name=f"{role.value}{number}")
        for role, runs in ((Role.INIT, inits), (Role.SIDECAR, sidecars), (Role.MAIN, mains))
        for number, each in enumerate(runs)
    ]
    step = plan(containers, policy, NOON)
    assert not (step.start and step.is_finished)
    assert all(not each.is_running for each in step.start)
    is_running = any(each.is_running for each in containers)
    assert step.start or step.stop or step.is_finished or is_running or step.wake_time is not None
    if step.is_finished:
        assert pod_phase(containers, policy, FACTS) in ("Succeeded", "Failed")
        assert not is_running
