"""What survives the node agent, and what does not: kill -9, restart, shutdown, and pods deleted while nobody watched."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid

import pytest

from support.eventually import eventually
from support.process_node import FOREVER, ProcessNode, condition, container_status

pytestmark = pytest.mark.cluster


def test_a_killed_agent_comes_back_and_adopts_its_pods(node: ProcessNode, space: str) -> None:
    marker = f"adopted-{uuid.uuid4().hex}"
    script = f"n=0; trap 'exit 0' TERM; while :; do n=$((n+1)); echo $n; sleep 0.1; done # {marker}"
    node.run(space, "long", script, wait="Running", restartPolicy="Always")
    before = node.processes_of(marker)
    node.kill()
    assert node.processes_of(marker) == before
    node.start()
    seen = int(eventually(lambda: node.logs(space, "long").split())[-1])
    eventually(lambda: int(node.logs(space, "long").split()[-1]) > seen, describe="its log goes on")
    pod = node.wait_phase(space, "long", "Running")
    assert container_status(pod)["restartCount"] == 0
    assert node.processes_of(marker) == before
    node.cluster.kubectl("delete", "pod", "long", "-n", space)
    assert node.processes_of(marker) == []


def test_a_restart_of_the_agent_does_not_look_like_an_outage(node: ProcessNode, space: str) -> None:
    probe = {"exec": {"command": ["test", "-e", "/tmp/up"]}}
    container = {"readinessProbe": probe, "startupProbe": probe}
    node.run(space, "steady", f"touch /tmp/up; {FOREVER}", wait="Running", container=container)
    eventually(lambda: condition(node.pod(space, "steady"), "Ready")["status"] == "True")
    watch = node.watch_readiness(space, "steady")
    node.kill()
    node.start()
    node.run(space, "marker", "true", wait="Succeeded")
    watch.terminate()
    output, _ = watch.communicate(timeout=20)
    assert set(output.split()) == {"True"}


def test_what_ended_while_the_agent_was_dead_is_told_afterwards(node: ProcessNode, space: str) -> None:
    volumes = [{"name": "work", "emptyDir": {}}]
    mounts = {"volumeMounts": [{"name": "work", "mountPath": "/workspace"}]}
    script = "echo started; while ! test -e /workspace/go; do sleep 0.05; done; printf words > /dev/termination-log; exit 5"
    pod = node.run(space, "ending", script, wait="Running", volumes=volumes, container=mounts)
    node.kill()
    (node.state / "pods" / pod["metadata"]["uid"] / "volumes" / "work" / "go").touch()
    eventually(lambda: list((node.state / "pods" / pod["metadata"]["uid"]).glob("containers/main/0/exit")))
    node.start()
    ended = container_status(node.wait_phase(space, "ending", "Failed"))["state"]["terminated"]
    assert (ended["exitCode"], ended["message"]) == (5, "words")


def test_a_pod_deleted_while_the_agent_was_dead_loses_its_processes(node: ProcessNode, space: str) -> None:
    marker = f"orphan-{uuid.uuid4().hex}"
    pod = node.run(space, "orphan", f"trap '' TERM; while :; do sleep 0.1; done # {marker}", wait="Running")
    node.kill()
    node.cluster.kubectl("delete", "pod", "orphan", "-n", space, "--force", "--grace-period=0")
    assert node.processes_of(marker) != []
    node.start()
    eventually(lambda: node.processes_of(marker) == [], describe="the orphan's processes are gone")
    eventually(lambda: not node.has_files_of(pod["metadata"]["uid"]), describe="the orphan's files are gone")


def test_a_killed_supervisor_ends_its_container_and_is_told_as_unknown(node: ProcessNode, space: str) -> None:
    marker = f"unsupervised-{uuid.uuid4().hex}"
    pod = node.run(space, "unsupervised", f"trap '' TERM; while :; do sleep 0.1; done # {marker}", wait="Running")
    node.kill_process(node.shim_of(pod))
    ended = container_status(node.wait_phase(space, "unsupervised", "Failed"))["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (137, "ContainerStatusUnknown")
    assert node.processes_of(marker) == []


def test_sigterm_with_stop_pods_on_exit_leaves_no_process_and_the_pods_come_back(node: ProcessNode, space: str) -> None:
    marker = f"whole-town-{uuid.uuid4().hex}"
    stubborn = (
        f"trap '' TERM; (setsid sh -c \"trap '' TERM; while :; do sleep 0.1; done # {marker}\" &); while :; do sleep 0.1; done # {marker}"
    )
    node.run(space, "service", stubborn, wait="Running", restartPolicy="Always")
    node.run(space, "session", f"{FOREVER} # {marker}", wait="Running")
    eventually(lambda: len(node.processes_of(marker)) >= 3)
    node.stop()
    assert node.processes_of(marker) == []
    node.start()
    session = node.wait_phase(space, "session", "Failed")
    assert container_status(session)["state"]["terminated"]["exitCode"] == 143
    eventually(lambda: container_status(node.pod(space, "service"))["restartCount"] == 1)
    node.wait_phase(space, "service", "Running")


def test_init_containers_run_again_when_memory_volumes_were_lost(node: ProcessNode, space: str) -> None:
    volumes = [{"name": "fast", "emptyDir": {"medium": "Memory"}}]
    mounts = [{"name": "fast", "mountPath": "/fast"}]
    before = [{"name": "prepare", "image": "none", "command": ["sh", "-c", "echo prepared > /fast/state"], "volumeMounts": mounts}]
    node.run(
        space,
        "prepared",
        f"cat /fast/state || exit 1; {FOREVER}",
        wait="Running",
        restartPolicy="Always",
        initContainers=before,
        volumes=volumes,
        container={"volumeMounts": mounts},
    )
    node.stop()
    node.start()

    def is_back() -> bool:
        pod = node.pod(space, "prepared")
        return bool(container_status(pod)["restartCount"] == 1 and pod["status"]["phase"] == "Running")

    eventually(is_back)
    assert container_status(node.pod(space, "prepared"), "prepare")["restartCount"] == 1
    eventually(lambda: node.logs(space, "prepared") == "prepared\n")


def test_sigterm_without_it_leaves_the_pods_running(node: ProcessNode, space: str) -> None:
    marker = f"kept-{uuid.uuid4().hex}"
    node.start(stopPodsOnExit=False)
    node.run(space, "kept", f"{FOREVER} # {marker}", wait="Running")
    before = node.processes_of(marker)
    node.stop()
    assert node.processes_of(marker) == before
    node.start()
    assert container_status(node.wait_phase(space, "kept", "Running"))["restartCount"] == 0
    assert node.processes_of(marker) == before


def test_a_pod_made_while_the_agent_was_dead_runs_when_it_is_back(node: ProcessNode, space: str) -> None:
    node.kill()
    node.run(space, "patient", "true")
    node.start()
    node.wait_phase(space, "patient", "Succeeded")


def test_a_new_pod_of_the_same_name_waits_for_the_old_one_to_end(node: ProcessNode, space: str) -> None:
    listen = (
        "import os, signal, socket, time\n"
        "server = socket.create_server((os.environ['POD_IP'], 7777), reuse_port=False)\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('listening', flush=True)\n"
        "time.sleep(1000)\n"
    )
    env = [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]
    container = {"command": ["python", "-c", listen], "env": env}
    node.run(space, "named", wait="Running", container=container)
    eventually(lambda: "listening" in node.logs(space, "named"))
    node.cluster.kubectl("delete", "pod", "named", "-n", space, "--force", "--grace-period=0")
    node.run(space, "named", wait="Running", container=container, terminationGracePeriodSeconds=1)
    eventually(lambda: "listening" in node.logs(space, "named"))
    assert container_status(node.pod(space, "named"))["restartCount"] == 0


def test_what_others_say_of_a_node_that_was_silent_is_taken_back(node: ProcessNode, space: str) -> None:
    node.run(space, "awake", FOREVER, wait="Running")
    eventually(lambda: condition(node.pod(space, "awake"), "Ready")["status"] == "True")
    # As the node controller does when a laptop has slept for a minute.
    for kind, name, where in (("node", node.name, ()), ("pod", "awake", ("-n", space))):
        patch = json.dumps({"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "NodeNotReady"}]}})
        node.cluster.kubectl("patch", kind, name, *where, "--subresource=status", "-p", patch)
    eventually(lambda: condition(node.pod(space, "awake"), "Ready")["status"] == "True", describe="the pod is ready again")
    eventually(
        lambda: condition(node.cluster.get("node", node.name, space), "Ready")["status"] == "True", describe="the node is ready again"
    )


def test_a_second_agent_keeps_off_the_state_of_the_first(node: ProcessNode) -> None:
    command = [sys.executable, "-m", "gastown.local.node", "--config", str(node.cluster.directory.configuration / "node.json")]
    second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 1
    assert f"another node agent works on {node.state}" in second.stderr
