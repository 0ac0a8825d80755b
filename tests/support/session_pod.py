"""What surrounds a session pod: its ServiceAccount with a mounted token, its rights, its objects; and the harness run as PID 1."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gastown.api.kinds import BEAD, LEASE, SERVICE_ACCOUNT
from gastown.polecat.session import Session
from support.cluster import Cluster

# What DESIGN section 6 lets a session do.
RULES = [
    {"apiGroups": ["gastown.dev"], "resources": ["*"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": ["gastown.dev"], "resources": ["beads"], "verbs": ["create", "patch"]},
    {"apiGroups": ["gastown.dev"], "resources": ["mergerequests"], "verbs": ["create"]},
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "patch"]},
]


def make_agent(cluster: Cluster, namespace: str, agent: str) -> None:
    """ServiceAccount, rights and Lease of an agent, as the operator and the chart make them."""
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "session", "namespace": namespace},
        "rules": RULES,
    }
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": agent, "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "session"},
        "subjects": [{"kind": "ServiceAccount", "name": agent, "namespace": namespace}],
    }
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": agent, "namespace": namespace}}
    lease = {"apiVersion": LEASE.api_version, "kind": "Lease", "metadata": {"name": agent, "namespace": namespace}, "spec": {}}
    cluster.apply(account, role, binding, lease)


def make_bead(cluster: Cluster, namespace: str, name: str, **spec: Any) -> dict[str, Any]:
    """A bead as a person files it."""
    with cluster.client() as client:
        body = {"apiVersion": BEAD.api_version, "kind": "Bead", "metadata": {"name": name, "namespace": namespace}}
        return client.create(BEAD, {**body, "spec": {"title": f"Title of {name}", "rigName": "greeter", **spec}})


def mount_account(cluster: Cluster, namespace: str, account: str, folder: Path) -> dict[str, str]:
    """The environment that gives a process a ServiceAccount, as the kubelet would."""
    folder.mkdir(parents=True, exist_ok=True)
    configuration = cluster.configuration("admin")
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 7200}}
    with cluster.client() as client:
        token = client.create(SERVICE_ACCOUNT, body, namespace=namespace, subresource="token", name=account)["status"]["token"]
    (folder / "token").write_text(token)
    (folder / "namespace").write_text(namespace)
    if configuration.authority_file:
        shutil.copyfile(configuration.authority_file, folder / "ca.crt")
    else:
        (folder / "ca.crt").write_text(configuration.authority_data)
    host, _, port = configuration.server.removeprefix("https://").rpartition(":")
    return {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port, "GASTOWN_SERVICEACCOUNT_DIR": str(folder)}


def environment(session: Session, account: Mapping[str, str], **more: str) -> dict[str, str]:
    """The environment of a session's containers, as the operator writes it."""
    gates = [{"name": gate.name, "command": gate.command, "timeoutSeconds": gate.timeoutSeconds} for gate in session.gates]
    return {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "LC_ALL": "C.UTF-8",
        **account,
        "GASTOWN_NAMESPACE": session.namespace,
        "GASTOWN_RIG": session.rig,
        "GASTOWN_AGENT": session.agent,
        "GASTOWN_BEAD": session.bead,
        "GASTOWN_SESSION": str(session.number),
        "GASTOWN_POD_UID": session.pod_uid,
        "GASTOWN_REPOSITORY_URL": session.repository_url,
        "GASTOWN_WORKSPACE": str(session.workspace),
        "GASTOWN_TARGET_BRANCH": session.target_branch,
        "GASTOWN_START_COMMIT": session.start_commit,
        "GASTOWN_ADAPTER": session.adapter,
        "GASTOWN_AGENT_COMMAND": json.dumps(session.agent_command),
        "GASTOWN_GATES": json.dumps(gates),
        "GASTOWN_TIMEOUT_SECONDS": str(session.timeout_seconds),
        "GASTOWN_HEARTBEAT_SECONDS": str(session.heartbeat_seconds),
        "GASTOWN_CHECKPOINT_SECONDS": str(session.checkpoint_seconds),
        "GASTOWN_TERMINATION_LOG": str(session.workspace / "termination-log"),
        "HOME": str(session.home),
        "TMPDIR": str(session.temporary),
        **more,
    }


def start_harness(variables: Mapping[str, str], *, as_pid_1: bool = False) -> subprocess.Popen[str]:
    """`gastown-polecat run`, in a PID namespace of its own if asked for."""
    wrapper = ["unshare", "--user", "--map-current-user", "--pid", "--fork", "--kill-child", "--mount-proc"] if as_pid_1 else []
    command = [*wrapper, sys.executable, "-m", "gastown.polecat.main", "run"]
    return subprocess.Popen(command, env=dict(variables), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def can_unshare() -> bool:
    """Whether this machine lets us have a PID namespace."""
    try:
        done = subprocess.run(
            ["unshare", "--user", "--map-current-user", "--pid", "--fork", "--mount-proc", "true"], capture_output=True, timeout=10
        )
    except OSError:
        return False
    return done.returncode == 0


def termination_message(session: Session) -> dict[str, Any]:
    """What the operator would read."""
    data = (session.workspace / "termination-log").read_bytes()
    assert len(data) <= 4096
    message: dict[str, Any] = json.loads(data)
    return message
