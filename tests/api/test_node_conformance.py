"""The process node tells the life of a pod as a kubelet does: one table, to which a real kubelet is held as well."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from support.cluster import ROOT
from support.pod_states import GONE, Expected, PodRecorder, State, expected_of, steps_reached
from support.process_node import ProcessNode

pytestmark = pytest.mark.cluster

CASES: Mapping[str, Any] = yaml.safe_load((ROOT / "tests" / "data" / "pods" / "conformance.yaml").read_text())["cases"]
NAMESPACE = "conformance"
WAIT_SECONDS = 120
LAST_SECONDS = 3


def steps(name: str) -> list[Expected]:
    return [expected_of(step) for step in CASES[name]["states"]]


def is_at_its_end(name: str, recorder: PodRecorder) -> bool:
    """Whether the pod went its way to the last step, or has left it."""
    reached = steps_reached(steps(name), recorder.states.get(name, []))
    return len(steps(name)) - 1 in reached or (not reached and name in recorder.states)


@pytest.fixture(scope="module")
def recorded(running_node: ProcessNode) -> Iterator[PodRecorder]:
    """All pods of the table, run side by side; each that is to be deleted is deleted when its time has come."""
    running_node.start()
    cluster = running_node.cluster
    cluster.make_namespace(NAMESPACE)
    recorder = PodRecorder(cluster, NAMESPACE)
    due = {name for name, case in CASES.items() if "do" in case}
    with recorder.recording():
        cluster.apply(*(told(item) for case in CASES.values() for item in case.get("objects", [])))
        for name, case in CASES.items():
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": case["spec"]}
            cluster.kubectl("create", "-f", "-", stdin=json.dumps(told(pod)))

        def all_ended() -> bool:
            for name in sorted(due):
                if is_due(CASES[name]["when"], recorder.states.get(name, [])):
                    due.remove(name)
                    by_force = ["--grace-period=0", "--force"] if CASES[name]["do"] == "force-delete" else []
                    cluster.kubectl("delete", "pod", name, "-n", NAMESPACE, "--wait=false", *by_force)
            return all(is_at_its_end(name, recorder) for name in CASES)

        ended = time.monotonic() + WAIT_SECONDS
        while not all_ended() and time.monotonic() < ended:
            time.sleep(0.05)
        time.sleep(LAST_SECONDS)  # that the last states last can only be seen in time
        yield recorder
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def told(item: Mapping[str, Any]) -> dict[str, Any]:
    return {**item, "metadata": {**item["metadata"], "namespace": NAMESPACE}}


def is_due(when: str, states: list[State]) -> bool:
    if when == "init-running":
        return any("running" in state.containers.values() for state in states)
    return any(state.phase == when for state in states)


@pytest.mark.parametrize("name", CASES)
def test_a_pod_that(recorded: PodRecorder, name: str) -> None:
    expected, seen = steps(name), recorded.states[name]
    shown = "\n".join(str(state) for state in seen)
    last = len(expected) - 1
    if not expected[last].lasts:  # what comes after it is not in the table
        end = next((index for index in range(len(seen)) if last in steps_reached(expected, seen[: index + 1])), len(seen) - 1)
        seen = seen[: end + 1]
    assert last in steps_reached(expected, seen), f"{name} went another way:\n{shown}"
    if "message" in CASES[name]:
        (status,) = recorded.last[name]["status"]["containerStatuses"]
        assert status["state"]["terminated"].get("message", "") == CASES[name]["message"]


TWO = [expected_of({"phase": "Running", "main": "running", "may": True}), expected_of({"phase": "Failed", "main": "1 Error"})]
RUNNING, FAILED = State("Running", "", {"main": "running"}), State("Failed", "", {"main": "1 Error"})


@pytest.mark.parametrize(
    ("seen", "reached"),
    [
        pytest.param([RUNNING, FAILED], {1}, id="all were seen"),
        pytest.param([FAILED], {1}, id="what may be missed was missed"),
        pytest.param([RUNNING], {0}, id="it has not ended yet"),
        pytest.param([FAILED, RUNNING], set(), id="the order is another one"),
        pytest.param([RUNNING, State("Failed", "", {"main": "2 Error"})], set(), id="the exit code is another one"),
        pytest.param([RUNNING, FAILED, State(GONE)], set(), id="something follows"),
    ],
)
def test_a_sequence_is_the_expected_one_or_not(seen: list[State], reached: set[int]) -> None:
    assert steps_reached(TWO, seen) == reached
