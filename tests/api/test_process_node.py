"""Pods on the process node behave as on a cluster: phases, exit codes, restarts, deletion, and what controllers make of them."""

from __future__ import annotations

import json
import time
import uuid

import pytest

from support.eventually import eventually
from support.process_node import FOREVER, ProcessNode, condition, container_status, terminated

pytestmark = pytest.mark.cluster


def test_a_pod_that_succeeds_is_told_with_exit_code_and_times(node: ProcessNode, space: str) -> None:
    pod = node.run(space, "fine", "echo hello", wait="Succeeded")
    ended = terminated(pod)
    assert (ended["exitCode"], ended["reason"]) == (0, "Completed")
    assert ended["startedAt"] <= ended["finishedAt"]
    assert condition(pod, "Ready")["reason"] == "PodCompleted"
    assert condition(pod, "Initialized")["status"] == "True"
    assert node.logs(space, "fine") == "hello\n"
    assert "podIP" not in pod["status"]


def test_a_pod_that_fails_is_told_with_its_exit_code(node: ProcessNode, space: str) -> None:
    pod = node.run(space, "bad", "exit 42", wait="Failed")
    assert (terminated(pod)["exitCode"], terminated(pod)["reason"]) == (42, "Error")


def test_a_program_that_is_not_there_is_a_start_error_that_names_it(node: ProcessNode, space: str) -> None:
    pod = node.run(space, "missing", wait="Failed", container={"command": ["no-such-program"]})
    ended = terminated(pod)
    assert (ended["exitCode"], ended["reason"]) == (128, "StartError")
    assert "no-such-program" in ended["message"]
    assert "PATH" in ended["message"]


@pytest.mark.parametrize(
    ("name", "container"),
    [
        ("nul", {"command": ["sh", "-c", "echo a\0b"]}),
        ("not-executable", {"command": ["/etc/passwd"]}),
        ("working-dir-is-a-file", {"command": ["true"], "workingDir": "/etc/passwd"}),
        (
            "too-much-environment",
            {
                "command": ["true"],
                "env": [{"name": f"V{n}", "value": "x" * 100_000} for n in range(10)] + [{"name": "BIG", "value": "y" * 200_000}],
            },
        ),
    ],
)
def test_hostile_input_fails_its_own_pod_only(node: ProcessNode, space: str, name: str, container: dict[str, object]) -> None:
    pod = node.run(space, name, wait="Failed", container=container)
    assert terminated(pod)["reason"] == "StartError", terminated(pod)
    node.run(space, "next", "true", wait="Succeeded")


def test_a_container_without_command_waits_and_says_what_to_do(node: ProcessNode, space: str) -> None:
    node.run(space, "image-only", container={"command": []})

    def message() -> str:
        return str(container_status(node.pod(space, "image-only"))["state"]["waiting"].get("message", ""))

    assert "set `command`" in eventually(message)
    assert container_status(node.pod(space, "image-only"))["state"]["waiting"]["reason"] == "CreateContainerConfigError"


def test_init_containers_run_in_order_before_the_main_one(node: ProcessNode, space: str) -> None:
    mounts = [{"name": "work", "mountPath": "/workspace"}]
    before = [
        {
            "name": name,
            "image": "none",
            "command": ["sh", "-c", f"cat /workspace/log; echo {name} >> /workspace/log"],
            "volumeMounts": mounts,
        }
        for name in ("first", "second")
    ]
    node.run(
        space,
        "ordered",
        "cat /workspace/log",
        wait="Succeeded",
        initContainers=before,
        container={"volumeMounts": mounts},
        volumes=[{"name": "work", "emptyDir": {}}],
    )
    assert node.logs(space, "ordered") == "first\nsecond\n"
    assert node.logs(space, "ordered", "-c", "second") == "first\n"


def test_a_failing_init_container_fails_a_pod_that_never_restarts(node: ProcessNode, space: str) -> None:
    before = [{"name": "prepare", "image": "none", "command": ["sh", "-c", "exit 3"]}]
    pod = node.run(space, "unprepared", "true", wait="Failed", initContainers=before)
    assert terminated(pod, "prepare")["exitCode"] == 3
    assert container_status(pod)["state"] == {"waiting": {"reason": "PodInitializing"}}
    assert condition(pod, "Initialized")["status"] == "False"


def test_a_sidecar_runs_beside_the_work_and_ends_after_it(node: ProcessNode, space: str) -> None:
    mounts = [{"name": "work", "mountPath": "/workspace"}]
    sidecar = {
        "name": "helper",
        "image": "none",
        "restartPolicy": "Always",
        "command": [
            "sh",
            "-c",
            "trap 'echo main was $(cat /workspace/state); exit 0' TERM; touch /workspace/helper; while :; do sleep 0.05; done",
        ],
        "startupProbe": {"exec": {"command": ["test", "-e", "/workspace/helper"]}},
        "volumeMounts": mounts,
    }
    pod = node.run(
        space,
        "with-sidecar",
        "test -e /workspace/helper && echo done > /workspace/state",
        wait="Succeeded",
        initContainers=[sidecar],
        container={"volumeMounts": mounts},
        volumes=[{"name": "work", "emptyDir": {}}],
    )
    assert terminated(pod, "helper")["exitCode"] == 0
    assert node.logs(space, "with-sidecar", "-c", "helper") == "main was done\n"


def test_a_crashing_container_is_restarted_at_once_and_then_held_back(node: ProcessNode, space: str) -> None:
    node.run(space, "crash", "exit 1", restartPolicy="Always")

    def held_back() -> dict[str, object]:
        status = container_status(node.pod(space, "crash"))
        assert status["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff", status
        return status

    status = eventually(held_back)
    assert status["restartCount"] == 1
    assert status["lastState"]["terminated"]["exitCode"] == 1  # type: ignore[index]
    assert "back-off 10s" in status["state"]["waiting"]["message"]  # type: ignore[index]
    assert node.pod(space, "crash")["status"]["phase"] == "Running"
    assert node.logs(space, "crash", "--previous") == ""


def test_on_failure_restarts_until_success(node: ProcessNode, space: str) -> None:
    script = "if test -e /workspace/tried; then exit 0; fi; touch /workspace/tried; echo failing; exit 9"
    pod = node.run(
        space,
        "second-try",
        script,
        wait="Succeeded",
        restartPolicy="OnFailure",
        container={"volumeMounts": [{"name": "work", "mountPath": "/workspace"}]},
        volumes=[{"name": "work", "emptyDir": {}}],
    )
    status = container_status(pod)
    assert status["restartCount"] == 1
    assert status["lastState"]["terminated"]["exitCode"] == 9
    assert node.logs(space, "second-try", "--previous") == "failing\n"


def test_the_active_deadline_fails_the_pod(node: ProcessNode, space: str) -> None:
    pod = node.run(space, "late", FOREVER, wait="Failed", activeDeadlineSeconds=1)
    assert pod["status"]["reason"] == "DeadlineExceeded"
    assert terminated(pod)["exitCode"] == 143


def test_deletion_gives_grace_then_ends_everything_the_container_started(node: ProcessNode, space: str) -> None:
    marker = f"stubborn-{uuid.uuid4().hex}"
    script = f"trap '' TERM; (setsid sh -c 'trap \"\" TERM; while :; do sleep 0.2; done' {marker} &); while :; do sleep 0.2; done"
    pod = node.run(space, "stubborn", script, wait="Running", terminationGracePeriodSeconds=2)
    eventually(lambda: len(node.processes_of(marker)) >= 2, describe="the double-forked child runs")
    begin = time.monotonic()
    node.cluster.kubectl("delete", "pod", "stubborn", "-n", space, "--wait=true")
    assert 1.5 < time.monotonic() - begin < 25
    assert node.processes_of(marker) == []
    eventually(lambda: not node.has_files_of(pod["metadata"]["uid"]), describe="its files are gone")


def test_sigterm_reaches_the_program_and_its_exit_code_is_told(node: ProcessNode, space: str) -> None:
    node.cluster.kubectl("create", "configmap", "unused", "-n", space)
    watch = node.run(space, "polite", "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.05; done", wait="Running")
    assert watch["status"]["phase"] == "Running"
    eventually(lambda: "ready" in node.logs(space, "polite"))
    node.cluster.kubectl("annotate", "pod", "polite", "-n", space, "kept=yes")
    # A finalizer keeps the pod visible after its node has let it go.
    node.cluster.kubectl("patch", "pod", "polite", "-n", space, "-p", '{"metadata":{"finalizers":["test.gastown.dev/look"]}}')
    node.cluster.kubectl("delete", "pod", "polite", "-n", space, "--wait=false")
    pod = node.wait_phase(space, "polite", "Failed")
    assert terminated(pod)["exitCode"] == 7
    node.cluster.kubectl("patch", "pod", "polite", "-n", space, "--type=json", "-p", '[{"op":"remove","path":"/metadata/finalizers"}]')


def test_forced_deletion_ends_the_processes_too(node: ProcessNode, space: str) -> None:
    marker = f"forced-{uuid.uuid4().hex}"
    node.run(space, "forced", f"trap '' TERM; while :; do sleep 0.2; done # {marker}", wait="Running", terminationGracePeriodSeconds=60)
    node.cluster.kubectl("delete", "pod", "forced", "-n", space, "--force", "--grace-period=0")
    eventually(lambda: node.processes_of(marker) == [], describe="the processes are gone")


def test_pre_stop_runs_before_sigterm(node: ProcessNode, space: str) -> None:
    script = "trap 'cat /workspace/stop; exit 0' TERM; touch /workspace/up; while :; do sleep 0.05; done"
    node.run(
        space,
        "hooked",
        script,
        wait="Running",
        container={
            "volumeMounts": [{"name": "work", "mountPath": "/workspace"}],
            "lifecycle": {"preStop": {"exec": {"command": ["sh", "-c", "echo hook > /workspace/stop"]}}},
            "readinessProbe": {"exec": {"command": ["test", "-e", "/workspace/up"]}},
        },
        volumes=[{"name": "work", "emptyDir": {}}],
    )
    eventually(lambda: condition(node.pod(space, "hooked"), "Ready")["status"] == "True", describe="it is ready")
    follower = node.follow_logs(space, "hooked")
    node.cluster.kubectl("delete", "pod", "hooked", "-n", space)
    output, _ = follower.communicate(timeout=20)
    assert output == "hook\n"


def test_a_namespace_goes_with_all_its_pods(node: ProcessNode, space: str) -> None:
    marker = f"inhabitant-{uuid.uuid4().hex}"
    node.run(space, "inhabitant", f"{FOREVER} # {marker}", wait="Running")
    node.cluster.kubectl("delete", "namespace", space, "--wait=true", "--timeout=30s")
    assert node.processes_of(marker) == []
    node.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}})


def _job(name: str, namespace: str, script: str, **spec: object) -> dict[str, object]:
    container = {"name": "gate", "image": "none", "command": ["sh", "-c", script]}
    template = {"spec": {"restartPolicy": "Never", "automountServiceAccountToken": False, "containers": [container]}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"backoffLimit": 0, "template": template, **spec},
    }


def _job_condition(node: ProcessNode, namespace: str, name: str, kind: str) -> dict[str, str]:
    def check() -> dict[str, str]:
        conditions = node.cluster.get("job", name, namespace)["status"].get("conditions", [])
        found: dict[str, str] | None = next((each for each in conditions if each["type"] == kind and each["status"] == "True"), None)
        assert found is not None, json.dumps(conditions)
        return found

    return eventually(check, 60, f"job {name} is {kind}")


def test_a_job_that_passes_completes(node: ProcessNode, space: str) -> None:
    node.cluster.apply(_job("passes", space, "true"))
    _job_condition(node, space, "passes", "Complete")


def test_a_job_with_back_off_limit_0_fails_after_one_pod(node: ProcessNode, space: str) -> None:
    node.cluster.apply(_job("fails", space, "exit 1"))
    assert _job_condition(node, space, "fails", "Failed")["reason"] == "BackoffLimitExceeded"
    assert len(json.loads(node.cluster.kubectl("get", "pods", "-n", space, "-o", "json").stdout)["items"]) == 1


def test_a_pod_failure_policy_sees_the_exit_code(node: ProcessNode, space: str) -> None:
    rule = {"action": "FailJob", "onExitCodes": {"containerName": "gate", "operator": "In", "values": [42]}}
    node.cluster.apply(_job("policy", space, "exit 42", backoffLimit=6, podFailurePolicy={"rules": [rule]}))
    assert _job_condition(node, space, "policy", "Failed")["reason"] == "PodFailurePolicy"


def test_a_job_deadline_ends_its_pod(node: ProcessNode, space: str) -> None:
    node.cluster.apply(_job("too-long", space, FOREVER, activeDeadlineSeconds=1))
    assert _job_condition(node, space, "too-long", "Failed")["reason"] == "DeadlineExceeded"


def test_a_deployment_rolls_out_when_its_pods_are_ready_and_replaces_them(node: ProcessNode, space: str) -> None:
    def deployment(version: str) -> dict[str, object]:
        script = f"echo {version} > index.html; exec python -m http.server 8080 --bind $(POD_IP)"
        container = {
            "name": "web",
            "image": "none",
            "command": ["sh", "-c", script],
            "workingDir": "/tmp",
            "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
            "ports": [{"name": "http", "containerPort": 8080}],
            "readinessProbe": {"httpGet": {"path": "/index.html", "port": "http"}},
            "livenessProbe": {"tcpSocket": {"port": 8080}},
        }
        template = {"metadata": {"labels": {"app": "web"}}, "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]}}
        spec = {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template}
        return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": space}, "spec": spec}

    for version in ("one", "two"):
        node.cluster.apply(deployment(version))
        node.cluster.kubectl("rollout", "status", "deployment/web", "-n", space, "--timeout=40s")


def test_a_pod_is_ready_only_while_its_probe_says_so(node: ProcessNode, space: str) -> None:
    node.run(
        space,
        "probed",
        f"touch /workspace/good; {FOREVER}",
        wait="Running",
        container={
            "volumeMounts": [{"name": "work", "mountPath": "/workspace"}],
            "readinessProbe": {"exec": {"command": ["test", "-e", "/workspace/good"]}, "periodSeconds": 1, "failureThreshold": 1},
        },
        volumes=[{"name": "work", "emptyDir": {}}],
    )
    eventually(lambda: condition(node.pod(space, "probed"), "Ready")["status"] == "True")
    node.cluster.kubectl("exec", "-n", space, "probed", "--", "rm", "/workspace/good")
    eventually(lambda: condition(node.pod(space, "probed"), "Ready")["status"] == "False")
    assert condition(node.pod(space, "probed"), "ContainersReady")["reason"] == "ContainersNotReady"


def test_a_failing_liveness_probe_restarts_the_container(node: ProcessNode, space: str) -> None:
    probe = {"exec": {"command": ["sh", "-c", "echo not alive; exit 1"]}, "periodSeconds": 1, "failureThreshold": 1}
    node.run(space, "lifeless", FOREVER, restartPolicy="Always", terminationGracePeriodSeconds=1, container={"livenessProbe": probe})
    eventually(lambda: container_status(node.pod(space, "lifeless"))["restartCount"] >= 1, 60)
    events = node.cluster.kubectl("get", "events", "-n", space, "-o", "json").stdout
    assert "not alive" in events
