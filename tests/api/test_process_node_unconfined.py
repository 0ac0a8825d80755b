"""The fallback for machines that forbid user namespaces: no sandbox, yet pods still find their volumes and leave nothing behind."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from support.eventually import eventually
from support.process_node import FOREVER, ProcessNode, container_status, terminated

pytestmark = pytest.mark.cluster


@pytest.fixture
def open_node(node: ProcessNode) -> Iterator[ProcessNode]:
    """The node without its sandbox."""
    node.start(sandbox="none")
    yield node
    node.start()


def test_the_node_says_that_it_does_not_confine(open_node: ProcessNode) -> None:
    found = open_node.cluster.get("node", open_node.name, "default")
    assert found["metadata"]["labels"]["gastown.dev/sandbox"] == "none"
    open_node.start()
    found = open_node.cluster.get("node", open_node.name, "default")
    assert found["metadata"]["labels"]["gastown.dev/sandbox"] == "namespaces"


def test_mount_paths_are_rewritten_and_messages_arrive(open_node: ProcessNode, space: str) -> None:
    volumes = [{"name": "work", "emptyDir": {}}]
    mounts = [{"name": "work", "mountPath": "/workspace"}]
    before = [{"name": "prepare", "image": "none", "command": ["sh", "-c", "echo ready > /workspace/state"], "volumeMounts": mounts}]
    container = {"volumeMounts": mounts, "workingDir": "/workspace", "env": [{"name": "PLACE", "value": "/workspace/state"}]}
    script = "cat state $PLACE /workspace/state; echo told > $GASTOWN_TERMINATION_LOG; echo /workspaces; exit 3"
    pod = open_node.run(space, "rewritten", script, wait="Failed", initContainers=before, volumes=volumes, container=container)
    assert open_node.logs(space, "rewritten").startswith("ready\nready\nready\n/workspaces\n")
    assert terminated(pod)["message"] == "told\n"


def test_the_api_is_reached_through_a_kubeconfig(open_node: ProcessNode, space: str) -> None:
    script = f"exec {open_node.cluster.programs.kubectl} auth whoami -o jsonpath={{.status.userInfo.username}}"
    open_node.run(space, "client", script, wait="Succeeded", automountServiceAccountToken=True)
    assert open_node.logs(space, "client") == f"system:serviceaccount:{space}:default"


def test_the_end_of_a_container_ends_what_it_forked_off(open_node: ProcessNode, space: str) -> None:
    marker = f"loose-{uuid.uuid4().hex}"
    open_node.run(space, "forking", f"(setsid sh -c 'while :; do sleep 0.1; done # {marker}' &); sleep 0.3", wait="Succeeded")
    assert open_node.processes_of(marker) == []


def test_a_killed_supervisor_leaves_nothing_behind(open_node: ProcessNode, space: str) -> None:
    marker = f"swept-{uuid.uuid4().hex}"
    script = f"(setsid sh -c 'while :; do sleep 0.1; done # {marker}' &); {FOREVER} # {marker}"
    pod = open_node.run(space, "swept", script, wait="Running")
    eventually(lambda: len(open_node.processes_of(marker)) >= 2)
    open_node.kill_process(open_node.shim_of(pod))
    ended = container_status(open_node.wait_phase(space, "swept", "Failed"))["state"]["terminated"]
    assert ended["reason"] == "ContainerStatusUnknown"
    eventually(lambda: open_node.processes_of(marker) == [])


def test_deletion_and_exec_work_without_namespaces(open_node: ProcessNode, space: str) -> None:
    marker = f"plain-{uuid.uuid4().hex}"
    open_node.run(space, "plain", f"{FOREVER} # {marker}", wait="Running")
    answer = open_node.cluster.kubectl("exec", "-n", space, "plain", "--", "sh", "-c", "echo inside $GASTOWN_NODE_RUN; exit 4", check=False)
    assert answer.returncode == 4
    assert answer.stdout.startswith("inside /")
    open_node.cluster.kubectl("delete", "pod", "plain", "-n", space, "--wait=true")
    assert open_node.processes_of(marker) == []
