"""A real process node for tests: its own control plane with controllers, and pods that are written in a line."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gastown.local.certificates import KUBELET_CLIENT_NAME, PROVISIONER_NAME, Certificates
from gastown.local.child_processes import ChildProcesses, Command
from gastown.local.control_plane_commands import Options
from gastown.local.node.state_directory import stop_all_containers
from support.cluster import ROOT, Cluster, running
from support.eventually import eventually

Object = dict[str, Any]
AGENT = "process-node"
# PID 1 of a PID namespace gets only the signals it asked for; a plain `sleep` would always wait for the SIGKILL.
FOREVER = "trap 'exit 143' TERM; while :; do sleep 0.1; done"
STORAGE_CLASS = "test-claims"
_numbers = itertools.count(1)


@dataclass
class ProcessNode:
    """One node agent and the cluster it serves.

    Attributes:
        overrides: Configuration keys that differ from the usual ones.
    """

    cluster: Cluster
    overrides: Object = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of the Node object."""
        return self.cluster.directory.node_name

    @property
    def state(self) -> Path:
        """The agent's state directory."""
        return self.cluster.directory.node

    def start(self, **overrides: Any) -> None:
        """Start the agent, or replace one with other settings, and wait until its node is ready."""
        directory = self.cluster.directory
        path = directory.configuration / "node.json"
        path.write_text(json.dumps(self._config() | self.overrides | overrides), encoding="utf-8")
        command = Command([sys.executable, "-m", "gastown.local.node", "--config", str(path)], files=[path])
        begin = datetime.now(UTC)
        is_new = ChildProcesses(directory).ensure(AGENT, command, grace_seconds=15.0)
        # An agent that was replaced has left a node that looks ready; only a fresh Lease is the new one's.
        eventually(lambda: self._is_ready() and (not is_new or self._last_renewal() > begin), 60, "the node is ready")

    def stop(self) -> None:
        """SIGTERM, as gt down does."""
        ChildProcesses(self.cluster.directory).stop(AGENT, 15.0)

    def kill(self) -> None:
        """SIGKILL: the agent has no chance to say anything."""
        identity = ChildProcesses(self.cluster.directory).find(AGENT)
        assert identity is not None
        identity.kill()

    def pod(self, namespace: str, name: str) -> Object:
        """The pod as the API shows it."""
        return self.cluster.get("pod", name, namespace)

    def run(self, namespace: str, name: str, script: str = "", *, wait: str = "", **spec: Any) -> Object:
        """Create a pod of one container `main` that runs a shell script, and wait for a phase.

        Args:
            wait: Succeeded, Failed, Running; "" does not wait.
            spec: Fields of the pod's spec; `container` holds fields of the container.
        """
        self.cluster.apply(pod_object(namespace, name, script, **spec))
        return self.wait_phase(namespace, name, wait) if wait else self.pod(namespace, name)

    def wait_phase(self, namespace: str, name: str, phase: str, timeout_seconds: float = 60.0) -> Object:
        """The pod, once it is in this phase."""

        def check() -> Object:
            found = self.pod(namespace, name)
            assert found["status"].get("phase") == phase, json.dumps(found["status"])
            return found

        return eventually(check, timeout_seconds, f"pod {name} is {phase}")

    def logs(self, namespace: str, name: str, *arguments: str) -> str:
        """kubectl logs."""
        return self.cluster.kubectl("logs", "-n", namespace, name, *arguments).stdout

    def logs_bytes(self, namespace: str, name: str) -> bytes:
        """kubectl logs, as bytes."""
        kubectl = [str(self.cluster.programs.kubectl), f"--kubeconfig={self.cluster.kubeconfig}"]
        return subprocess.run([*kubectl, "logs", "-n", namespace, name], capture_output=True, check=True, timeout=60).stdout

    def follow_logs(self, namespace: str, name: str, *arguments: str) -> subprocess.Popen[str]:
        """kubectl logs -f as a process; the caller takes its output, which ends with the container."""
        kubectl = [str(self.cluster.programs.kubectl), f"--kubeconfig={self.cluster.kubeconfig}"]
        return subprocess.Popen([*kubectl, "logs", "-f", "-n", namespace, name, *arguments], stdout=subprocess.PIPE, text=True)

    def watch_readiness(self, namespace: str, name: str) -> subprocess.Popen[str]:
        """kubectl get --watch as a process: prints the Ready condition now and at each change of the pod."""
        kubectl = [str(self.cluster.programs.kubectl), f"--kubeconfig={self.cluster.kubeconfig}"]
        template = '-o=jsonpath={.status.conditions[?(@.type=="Ready")].status}{"\\n"}'
        return subprocess.Popen([*kubectl, "get", "pod", name, "-n", namespace, "--watch", template], stdout=subprocess.PIPE, text=True)

    def shim_of(self, pod: Object, container: str = "main") -> int:
        """The supervisor of a container's first run."""
        state = self.state / "pods" / pod["metadata"]["uid"] / "containers" / container / "0" / "state"
        fields = dict(line.split("=", 1) for line in state.read_text().splitlines())
        return int(fields["shim"].partition(":")[0])

    def kill_process(self, process_id: int) -> None:
        """SIGKILL to one process of the node's."""
        os.kill(process_id, signal.SIGKILL)

    def processes_of(self, marker: str) -> list[int]:
        """Processes with a text in their command line, whatever container they are in."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    command = (entry / "cmdline").read_bytes()
                except OSError:
                    continue
                if marker.encode() in command:
                    found.append(int(entry.name))
        return found

    def has_files_of(self, uid: str) -> bool:
        """Whether the node still keeps anything of a pod."""
        return (self.state / "pods" / uid).exists()

    def _is_ready(self) -> bool:
        ChildProcesses(self.cluster.directory).check(AGENT)
        answer = self.cluster.kubectl("get", "node", self.name, "-o", "json", check=False)
        if answer.returncode != 0:
            return False
        node = json.loads(answer.stdout)
        is_ready = any(each["type"] == "Ready" and each["status"] == "True" for each in node["status"].get("conditions", []))
        return is_ready and not node["spec"].get("taints")

    def _last_renewal(self) -> datetime:
        answer = self.cluster.kubectl("get", "lease", self.name, "-n", "kube-node-lease", "-o", "jsonpath={.spec.renewTime}", check=False)
        return datetime.fromisoformat(answer.stdout) if answer.stdout else datetime.fromtimestamp(0, UTC)

    def _config(self) -> Object:
        certificates = Certificates(self.cluster.directory.certificates)
        client, server, provisioner = (certificates.pair(each) for each in ("node", "node-server", "volume-provisioner"))
        return {
            "nodeName": self.name,
            "apiServer": self.cluster.server,
            "caFile": str(certificates.cluster_authority.certificate),
            "clientCertFile": str(client.certificate),
            "clientKeyFile": str(client.key),
            "provisionerCertFile": str(provisioner.certificate),
            "provisionerKeyFile": str(provisioner.key),
            "servingCertFile": str(server.certificate),
            "servingKeyFile": str(server.key),
            "kubeletClientCommonName": KUBELET_CLIENT_NAME,
            "stateDirectory": str(self.state),
            "volumesDirectory": str(self.cluster.directory.volumes),
            "pathEntries": [str(Path(sys.executable).parent)],
            "readOnlyPaths": [sys.prefix, str(ROOT / "operator"), str(ROOT / "gitops")],
            "maskedPaths": [str(self.cluster.directory.root)],
            "stopPodsOnExit": True,
        }


def pod_object(
    namespace: str, name: str, script: str = "", *, container: Object | None = None, labels: Object | None = None, **spec: Any
) -> Object:
    """A Pod; without anything else said it runs a script once and has no API token."""
    main = {"name": "main", "image": "none", "command": ["sh", "-c", script], **(container or {})}
    filled = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 5,
        "containers": [main],
        **spec,
    }
    metadata = {"name": name, "namespace": namespace, "labels": labels or {}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": filled}


def container_status(pod: Object, name: str = "main") -> Object:
    """Status of one container of a pod, init containers included."""
    every = [*pod["status"].get("initContainerStatuses", []), *pod["status"].get("containerStatuses", [])]
    found: Object | None = next((each for each in every if each["name"] == name), None)
    assert found is not None, f"no status of container {name} yet"
    return found


def terminated(pod: Object, name: str = "main") -> Object:
    """How a container ended."""
    state: Object = container_status(pod, name)["state"]
    assert "terminated" in state, state
    found: Object = state["terminated"]
    return found


def condition(pod: Object, kind: str) -> Object:
    """A condition of a pod."""
    found: Object | None = next((each for each in pod["status"].get("conditions", []) if each["type"] == kind), None)
    assert found is not None, f"no condition {kind} yet"
    return found


def _storage_objects() -> list[Object]:
    """The StorageClass and the provisioner's rights, as the local town has them."""
    rules = [
        {"apiGroups": [""], "resources": ["persistentvolumes"], "verbs": ["get", "list", "watch", "create", "delete"]},
        {"apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["storage.k8s.io"], "resources": ["storageclasses"], "verbs": ["get", "list", "watch"]},
    ]
    group = "rbac.authorization.k8s.io"
    role = {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": {"name": PROVISIONER_NAME}, "rules": rules}
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": PROVISIONER_NAME},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": PROVISIONER_NAME},
        "subjects": [{"apiGroup": group, "kind": "User", "name": PROVISIONER_NAME}],
    }
    storage_class = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": STORAGE_CLASS},
        "provisioner": "gastown.dev/process-node",
        "volumeBindingMode": "WaitForFirstConsumer",
        "reclaimPolicy": "Retain",
    }
    return [role, binding, storage_class]


@pytest.fixture(scope="session")
def node_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A control plane with all controllers; shared by the tests of the process node."""
    with running(tmp_path_factory.mktemp("node") / "town", Options(durable=False)) as cluster:
        cluster.apply(*_storage_objects())
        yield cluster


@pytest.fixture(scope="session")
def running_node(node_cluster: Cluster) -> Iterator[ProcessNode]:
    """The node for the length of the run."""
    node = ProcessNode(node_cluster)
    try:
        node.start()
        yield node
    finally:
        node.stop()
        stop_all_containers(node.state)


@pytest.fixture
def node(running_node: ProcessNode) -> ProcessNode:
    """The running node; a test that left it dead or changed does not harm the next one."""
    running_node.start()
    return running_node


@pytest.fixture
def space(node_cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """A fresh namespace on the node's cluster, deleted afterwards with all that runs in it."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower().removeprefix("test_"))[:40].strip("-")
    name = f"n{next(_numbers)}-{uuid.uuid4().hex[:5]}-{words}".rstrip("-")
    node_cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    eventually(
        lambda: node_cluster.kubectl("get", "serviceaccount", "default", "-n", name, check=False).returncode == 0,
        15.0,
        "the default account",
    )
    yield name
    node_cluster.kubectl("delete", "namespace", name, "--wait=false")


def alive(process_id: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


__all__ = [
    "FOREVER",
    "STORAGE_CLASS",
    "ProcessNode",
    "alive",
    "condition",
    "container_status",
    "node",
    "node_cluster",
    "pod_object",
    "running_node",
    "space",
    "terminated",
]
