"""Do the rig's gates pass on this tree?"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from gastown.actions import Action, Create, SetStatus, Wake
from gastown.api import conditions
from gastown.api.core import ContainerStateTerminated, JobStatus
from gastown.api.gate_run import GateRun, GateRunResult, GateRunStatus
from gastown.decide import gate_run
from gastown.decide.gate_job import GateSettings
from gastown.decide.gate_run import GateRunSeen
from gastown.local.node.environment import expand
from support import build
from support.build import NOON, NOON_TEXT

RUN = build.gate_run()
LATER = NOON + 60


def seen(run: GateRun = RUN, **fields: Any) -> GateRunSeen:
    given: dict[str, Any] = {"rig": build.rig(), "town": build.town(), **fields}
    return GateRunSeen(run, GateSettings(image="gastown/session:1"), **given)


def with_pod(pod: Any, **fields: Any) -> GateRunSeen:
    return seen(jobs=(build.job(RUN, **fields),), pods=(pod,) if pod is not None else ())


def jobs(actions: list[Action]) -> list[dict[str, Any]]:
    return [dict(action.object) for action in actions if isinstance(action, Create) and isinstance(action.object, dict)]


def status_of(what: GateRunSeen, now: float = LATER) -> GateRunStatus:
    (status,) = [action.status for action in gate_run.decide(what, now) if isinstance(action, SetStatus)]
    assert isinstance(status, GateRunStatus)
    return status


def succeeded(status: GateRunStatus) -> tuple[str, str]:
    found = conditions.find_condition(status.conditions, "Succeeded")
    assert found is not None
    return found.status, found.reason


def test_each_gate_gets_one_job_without_any_credential() -> None:
    rig = build.rig(gates=[build.gate(), build.gate("lint", command=["ruff", "check"], timeoutSeconds=60)])
    run = build.gate_run(rig_=rig)
    first, second = jobs(gate_run.decide(seen(run, rig=rig), NOON))
    assert [job["metadata"]["name"] for job in (first, second)] == ["greeter-run-unit-tests", "greeter-run-lint"]
    spec = second["spec"]
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"], spec["ttlSecondsAfterFinished"]) == (0, 60, 300)
    pod = spec["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["containers"][0]["command"] == ["ruff", "check"]
    assert pod["initContainers"][0]["command"] == ["gastown-polecat", "gate-source"]
    assert second["metadata"]["ownerReferences"][0]["name"] == "greeter-run"


def test_a_gates_command_and_its_source_reach_the_program_as_written() -> None:
    rig = build.rig(gates=[build.gate(command=["sh", "-c", "echo $$ $(HOME) $$(HOME)"])])
    (job,) = jobs(gate_run.decide(seen(build.gate_run(rig_=rig, sourceURL="http://repo/$(HOME)?sig=1"), rig=rig), NOON))
    pod = job["spec"]["template"]["spec"]
    assert [expand(text, {"HOME": "/x"}) for text in pod["containers"][0]["command"]] == rig.spec.gates[0].command
    (url,) = [variable["value"] for variable in pod["initContainers"][0]["env"] if variable["name"] == "GASTOWN_SOURCE_URL"]
    assert expand(url, {"HOME": "/x"}) == "http://repo/$(HOME)?sig=1"


def test_a_short_run_is_told_once_with_its_verdict() -> None:
    # Two seconds old: it was made at the end of the second that its object tells.
    fresh = gate_run.decide(seen(), NOON + 2.9)
    assert [type(action) for action in fresh] == [Create, Wake]
    assert succeeded(status_of(seen(jobs=(build.job(RUN),)))) == ("Unknown", "Running")


@pytest.mark.parametrize(
    ("pod", "verdict", "reason"),
    [
        pytest.param(build.gate_pod(RUN, exit_code=0), "Passed", "", id="exit code 0"),
        pytest.param(build.gate_pod(RUN, exit_code=1), "Failed", "", id="exit code 1"),
        pytest.param(build.gate_pod(RUN, exit_code=134), "Failed", "", id="the program aborted"),
        pytest.param(build.gate_pod(RUN, exit_code=137), "Error", "Killed", id="killed from outside"),
        pytest.param(build.gate_pod(RUN, exit_code=143), "Error", "Terminated", id="told to end from outside"),
        pytest.param(build.gate_pod(RUN, exit_code=137, reason="OOMKilled"), "Error", "OOMKilled", id="out of memory"),
        pytest.param(build.gate_pod(RUN, exit_code=128, reason="StartError"), "Error", "StartError", id="program not found"),
        pytest.param(build.gate_pod(RUN, exit_code=137, pod_reason="Evicted"), "Error", "Evicted", id="evicted"),
        pytest.param(build.gate_pod(RUN, exit_code=0, deleted=NOON_TEXT), "Error", "Disrupted", id="stopped from outside"),
        pytest.param(
            build.gate_pod(RUN, phase="Failed", init=ContainerStateTerminated(exitCode=1, message="tree differs")),
            "Error",
            "SourceFailed",
            id="source not fetched",
        ),
        pytest.param(build.gate_pod(RUN, phase="Failed", pod_reason="NodeLost"), "Error", "NodeLost", id="node lost"),
    ],
)
def test_only_the_programs_own_exit_code_is_red(pod: Any, verdict: str, reason: str) -> None:
    status = status_of(with_pod(pod))
    (result,) = status.gates
    assert (result.verdict, result.reason) == (verdict, reason)
    expected = {"Passed": ("True", "Passed"), "Failed": ("False", "Failed"), "Error": ("False", "GateError")}
    assert succeeded(status) == expected[verdict]
    assert status.phase == verdict


def test_a_gate_past_its_deadline_is_an_error_whatever_its_exit_code() -> None:
    status = status_of(with_pod(build.gate_pod(RUN, exit_code=1), failed="DeadlineExceeded"))
    assert (status.gates[0].verdict, status.gates[0].reason) == ("Error", "DeadlineExceeded")


def test_a_failed_job_without_a_pod_is_an_error_after_a_while() -> None:
    what = with_pod(None, failed="BackoffLimitExceeded")
    assert status_of(what, NOON + 5).gates[0].verdict == "Pending"
    assert status_of(what, NOON + 20).gates[0].reason == "BackoffLimitExceeded"


def test_red_outweighs_an_error_and_waits_for_the_other_gates() -> None:
    rig = build.rig(gates=[build.gate("a"), build.gate("b"), build.gate("c")])
    run = build.gate_run(rig_=rig)
    made = tuple(build.job(run, name) for name in "abc")
    red, broken = build.gate_pod(run, "a", exit_code=1), build.gate_pod(run, "b", exit_code=137, reason="OOMKilled")
    assert succeeded(status_of(seen(run, rig=rig, jobs=made, pods=(red, broken)))) == ("Unknown", "Running")
    green = build.gate_pod(run, "c", exit_code=0)
    assert succeeded(status_of(seen(run, rig=rig, jobs=made, pods=(red, broken, green)))) == ("False", "Failed")


def test_a_recorded_verdict_stands_when_job_and_pod_are_gone() -> None:
    rig = build.rig(gates=[build.gate("a"), build.gate("b")])
    run = build.gate_run(rig_=rig)
    made = (build.job(run, "a"), build.job(run, "b"))
    told = status_of(seen(run, rig=rig, jobs=made, pods=(build.gate_pod(run, "a", exit_code=1),)))
    later = seen(dataclasses.replace(run, status=told), rig=rig, jobs=made[1:])
    assert [result.verdict for result in status_of(later).gates] == ["Failed", "Pending"]
    assert jobs(gate_run.decide(later, LATER)) == []


def test_a_verdict_is_never_taken_back() -> None:
    told = status_of(with_pod(build.gate_pod(RUN, exit_code=0)))
    assert gate_run.decide(seen(dataclasses.replace(RUN, status=told), rig=build.rig(gates=[])), LATER) == []


@pytest.mark.parametrize(
    ("rig", "expected"),
    [
        pytest.param(None, ("False", "UnknownRig"), id="rig is gone"),
        pytest.param(build.rig(gates=[build.gate(command=["make", "more"])]), ("False", "GatesChanged"), id="gates have changed"),
    ],
)
def test_a_run_for_other_gates_is_refused(rig: Any, expected: tuple[str, str]) -> None:
    assert succeeded(status_of(seen(rig=rig))) == expected


@pytest.mark.parametrize("gates", [pytest.param([], id="none"), pytest.param([build.gate(type="Approval", command=[])], id="approval")])
def test_gates_that_can_not_be_run_are_an_error(gates: Any) -> None:
    rig = build.rig(gates=gates)
    assert succeeded(status_of(seen(build.gate_run(rig_=rig), rig=rig))) == ("False", "GateError")


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        pytest.param(build.gate_pod(RUN, exit_code=1, message="x" * 9000 + "1 failed"), "x" * 4088 + "1 failed", id="its end is kept"),
        pytest.param(build.gate_pod(RUN, exit_code=0, message="ok"), "ok", id="short enough"),
        pytest.param(
            build.gate_pod(RUN, phase="Failed", init=ContainerStateTerminated(exitCode=1, message="y" * 9000)),
            "y" * 4096,
            id="of the source",
        ),
    ],
)
def test_the_log_is_kept_as_far_as_the_status_may_hold_it(pod: Any, expected: str) -> None:
    assert status_of(with_pod(pod)).gates[0].logTail == expected


def test_a_result_tells_when_the_program_ran_and_how_it_ended() -> None:
    (result,) = status_of(with_pod(build.gate_pod(RUN, exit_code=2, message="red"))).gates
    assert result == GateRunResult(
        name="unit-tests",
        verdict="Failed",
        exitCode=2,
        jobName="greeter-run-unit-tests",
        startTime=NOON_TEXT,
        finishTime="2025-06-15T15:07:40Z",
        logTail="red",
    )


@pytest.mark.parametrize(
    "state",
    [
        pytest.param({"phase": "Pending"}, id="pod waits for a node"),
        pytest.param({"phase": "Running"}, id="program runs"),
        pytest.param({"phase": "Pending", "init": ContainerStateTerminated(exitCode=0)}, id="source is there, program starts"),
    ],
)
def test_while_the_pod_is_on_its_way_nothing_is_decided_even_if_its_job_failed(state: dict[str, Any]) -> None:
    what = with_pod(build.gate_pod(RUN, **state), failed="BackoffLimitExceeded")
    assert succeeded(status_of(what, NOON + 600)) == ("Unknown", "Running")


@pytest.mark.parametrize(
    ("type_", "status", "verdict"),
    [
        pytest.param("FailureTarget", "True", "Error", id="about to fail"),
        pytest.param("Failed", "False", "Pending", id="not failed"),
        pytest.param("Complete", "True", "Pending", id="complete, the pod is yet to be seen"),
    ],
)
def test_only_a_condition_of_failure_gives_a_job_up(type_: str, status: str, verdict: str) -> None:
    said = JobStatus(conditions=[build.condition(type_, status, "DeadlineExceeded")])
    assert status_of(seen(jobs=(dataclasses.replace(build.job(RUN), status=said),))).gates[0].verdict == verdict


def test_a_job_that_ended_without_its_pod_is_looked_at_again() -> None:
    actions = gate_run.decide(with_pod(None, failed="BackoffLimitExceeded"), NOON + 5)
    assert [action.after_seconds for action in actions if isinstance(action, Wake)] == [gate_run.POD_SECONDS]
    assert [action for action in gate_run.decide(with_pod(None), NOON + 5) if isinstance(action, Wake)] == []


def test_an_emergency_stop_lets_gates_that_run_come_to_their_verdict() -> None:
    stopped: dict[str, Any] = {"town": build.town(stopped=True), "jobs": (build.job(RUN),)}
    assert succeeded(status_of(seen(**stopped))) == ("Unknown", "Running")
    assert succeeded(status_of(seen(**stopped, pods=(build.gate_pod(RUN, exit_code=0),)))) == ("True", "Passed")


def test_no_job_is_made_during_an_emergency_stop() -> None:
    actions = gate_run.decide(seen(town=build.town(stopped=True)), LATER)
    assert jobs(actions) == []
    assert succeeded(status_of(seen(town=build.town(stopped=True)))) == ("Unknown", "EmergencyStop")
