"""Installs the chart by the real helm, and sees what it installed working."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gastown.kube import paths
from gastown.kube.errors import NotFound
from gastown.kube.http import Connection, TransportError
from gastown.kube.rest import Client
from gastown.local.atomic_file import write_atomically
from gastown.local.errors import LocalTownError
from gastown.local.node.addresses import pod_address
from gastown.local.node.system_calls import die_with_parent
from gastown.local.town_directory import TownDirectory
from gastown.local.waiting import wait_until

RELEASE, SYSTEM_NAMESPACE = "gastown", "gastown-system"
# On the Secret in which helm keeps a release: which chart and values it was made of.
_DIGEST_LABEL = "gastown.dev/chart-digest"
_INSTALL_SECONDS = 180
_WORKLOAD_SECONDS = 90.0
_OURS = "app.kubernetes.io/name=gastown"


@dataclass(frozen=True, slots=True)
class Release:
    """A revision of the chart in the cluster, as helm recorded it.

    Attributes:
        secret: Name of the Secret that records it.
        revision: Counts up from 1.
        status: deployed, failed, pending-install, pending-upgrade, ...
        digest: Of chart and values; "" if it was not installed by `gt up`.
    """

    secret: str
    revision: int
    status: str
    digest: str


def default_chart() -> Path:
    """charts/gastown of the checkout that this code runs from.

    Raises:
        LocalTownError: This is no checkout.
    """
    chart = Path(__file__).parents[3] / "charts" / "gastown"
    if not (chart / "Chart.yaml").exists():
        raise LocalTownError(f"the chart is not at {chart}: run from a checkout of the project, or pass the chart's folder")
    return chart


def chart_values(directory: TownDirectory, town_namespace: str) -> dict[str, Any]:
    """How the chart differs on a laptop from a cluster."""
    return {
        "towns": [{"name": town_namespace}],
        "repoServer": {"url": repo_url(directory)},
        "repo": {"localUpstreams": {"hostPath": str(directory.upstreams)}},
        # Nothing enforces them here; the process node's containers share the host's network.
        "networkPolicies": {"enabled": False},
    }


def repo_address(directory: TownDirectory) -> tuple[str, int]:
    """Where the repo-server listens: the process node gives each pod an address that follows from its name."""
    return pod_address(directory.node_name, SYSTEM_NAMESPACE, "repo-0"), 8080


def repo_url(directory: TownDirectory) -> str:
    """The same as URL, for the chart and for people on this machine."""
    host, port = repo_address(directory)
    return f"http://{host}:{port}"


def install_chart(
    directory: TownDirectory, client: Client, helm: Path, chart: Path, values: Mapping[str, Any], report: Callable[[str], None]
) -> bool:
    """Install or upgrade the release, unless exactly this chart with these values is deployed already.

    Args:
        directory: helm's own files and the values file go there.
        client: An administrator.
        chart: Its folder.

    Returns:
        Whether helm was run.

    Raises:
        LocalTownError: helm failed; shows its words and which pods are not ready.
    """
    digest = chart_digest(chart, values)
    releases = list_releases(client)
    if releases and releases[-1].status == "deployed" and releases[-1].digest == digest:
        return False
    if releases and releases[-1].status.startswith("pending-"):
        # A helm that was killed, for we hold the town's lock. Forgetting the attempt loses nothing: its objects carry helm's marks.
        client.request("DELETE", f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/secrets/{releases[-1].secret}")
    report(f"installing the chart {chart} with helm")
    values_file = directory.configuration / "values.json"
    write_atomically(values_file, json.dumps(values, indent=1) + "\n")
    command = [
        *(str(helm), "upgrade", "--install", RELEASE, str(chart), "--namespace", SYSTEM_NAMESPACE, "--create-namespace"),
        *("--values", str(values_file), "--labels", f"{_DIGEST_LABEL}={digest}", "--wait", "--timeout", f"{_INSTALL_SECONDS}s"),
        *("--kubeconfig", str(directory.admin_kubeconfig), "--history-max", "5"),
    ]
    answer = _run_helm(command, directory)
    if answer.returncode != 0:
        said = "\n".join(f"  | {line}" for line in answer.stdout.decode("utf-8", "replace").strip().splitlines()[-12:])
        raise LocalTownError(f"helm could not install {chart}:\n{said}{_quote_unready(client)}")
    return True


def wait_for_workloads(client: Client) -> None:
    """Wait until the system's pods are ready, by their statuses and by their own readiness probes.

    After a restart of the town the statuses are those from before it; only the probes tell what answers now.

    Raises:
        LocalTownError: Not in time; names the pods and why.
    """

    def missing() -> str:
        return next(_unready_workloads(client), "") or next(_unanswered_probes(client), "")

    wait_until(f"the pods of {SYSTEM_NAMESPACE}", missing, timeout_seconds=_WORKLOAD_SECONDS, remedy=lambda: _quote_unready(client))


def list_releases(client: Client) -> list[Release]:
    """What helm has recorded of our release, oldest first."""
    secrets = _list(client, f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/secrets", f"owner=helm,name={RELEASE}")
    found = []
    for secret in secrets:
        labels = secret["metadata"].get("labels", {})
        revision = int(labels.get("version", "0"))
        found.append(Release(secret["metadata"]["name"], revision, labels.get("status", ""), labels.get(_DIGEST_LABEL, "")))
    return sorted(found, key=lambda release: release.revision)


def unready_pods(client: Client) -> list[str]:
    """One line per pod of the system that is not ready, with the reason."""
    lines = []
    for pod in _list(client, f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/pods", _OURS):
        status = pod.get("status", {})
        containers = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
        troubles = [_trouble(container) for container in containers if not container.get("ready")]
        if troubles or not containers:
            conditions = [each.get("message", "") for each in status.get("conditions", []) if each["status"] == "False"]
            why = "; ".join(filter(None, troubles)) or "; ".join(filter(None, conditions)) or "no status yet"
            lines.append(f"pod {pod['metadata']['name']} is {status.get('phase', 'unknown')}: {why}")
    return lines


def chart_digest(chart: Path, values: Mapping[str, Any]) -> str:
    """Of every file of the chart and of the values."""
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    for file in sorted(path for path in chart.rglob("*") if path.is_file()):
        digest.update(f"\0{file.relative_to(chart)}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:40]


def _unready_workloads(client: Client) -> Iterator[str]:
    for plural in ("deployments", "statefulsets"):
        for item in _list(client, f"/apis/apps/v1/namespaces/{SYSTEM_NAMESPACE}/{plural}", _OURS):
            wanted, status = item["spec"].get("replicas", 1), item.get("status", {})
            name = f"{item['kind'] if 'kind' in item else plural[:-1]} {item['metadata']['name']}"
            if status.get("observedGeneration", 0) < item["metadata"]["generation"] or status.get("updatedReplicas", 0) < wanted:
                yield f"{name} is not rolled out"
            elif status.get("readyReplicas", 0) < wanted:
                yield f"{name} has {status.get('readyReplicas', 0)} of {wanted} pods ready"


def _unanswered_probes(client: Client) -> Iterator[str]:
    for pod in _list(client, f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/pods", _OURS):
        metadata = pod["metadata"]
        if "deletionTimestamp" in metadata or "nodeName" not in pod["spec"]:
            continue
        address = pod_address(pod["spec"]["nodeName"], metadata["namespace"], metadata["name"])
        for container in pod["spec"]["containers"]:
            probe = container.get("readinessProbe", {}).get("httpGet")
            if probe and not _answers(address, _port_number(container, probe["port"]), probe.get("path", "/")):
                yield f"container {container['name']} of pod {metadata['name']} does not answer {probe.get('path', '/')}"


def _port_number(container: Mapping[str, Any], port: str | int) -> int:
    named = {each.get("name"): each["containerPort"] for each in container.get("ports", [])}
    return int(named.get(port, port))


def _answers(address: str, port: int, path: str) -> bool:
    connection = Connection(f"http://{address}:{port}", None)
    try:
        return connection.request("GET", path, {"Connection": "close"}, None, 2.0).status < 400
    except TransportError:
        return False
    finally:
        connection.close()


def _trouble(container: Mapping[str, Any]) -> str:
    for kind in ("waiting", "terminated"):
        if state := container.get("state", {}).get(kind):
            code = f" with exit code {state['exitCode']}" if "exitCode" in state else ""
            return f"{container['name']} {kind}{code}, {state.get('reason', '')} {state.get('message', '')}".strip()
    return f"{container['name']} runs but is not ready"


def _quote_unready(client: Client) -> str:
    lines = unready_pods(client)
    told = "".join(f"\n  {line}" for line in lines)
    return f"{told}\nTheir output: kubectl logs -n {SYSTEM_NAMESPACE} POD -c CONTAINER" if lines else ""


def _list(client: Client, path: str, selector: str) -> list[dict[str, Any]]:
    try:
        return list(client.request("GET", paths.with_query(path, labelSelector=selector))["items"])
    except NotFound:
        return []


def _run_helm(command: Sequence[str], directory: TownDirectory) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            command,
            env=_helm_environment(directory),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=_INSTALL_SECONDS + 60,
            # A helm that outlives a killed `gt up` would go on beside the next one's, and beside `gt down`.
            preexec_fn=die_with_parent,
        )
    except subprocess.TimeoutExpired as error:
        raise LocalTownError(f"helm did not end within {error.timeout:.0f} s and was killed; try again: {' '.join(command)}") from error


def _helm_environment(directory: TownDirectory) -> dict[str, str]:
    # The user's own plugins and repositories have no say in what a town is.
    homes = {f"HELM_{name}_HOME": str(directory.configuration / "helm" / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
    own = {name: value for name, value in os.environ.items() if not name.startswith(("HELM_", "KUBECONFIG"))}
    return {**own, **homes}
