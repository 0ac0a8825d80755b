"""The process node as a child of the town: its configuration, its start, and its end with everything it runs."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

from gastown.kube.rest import Client
from gastown.local.atomic_file import write_atomically
from gastown.local.binaries import Programs
from gastown.local.certificates import KUBELET_CLIENT_NAME
from gastown.local.child_processes import ChildProcesses, Command
from gastown.local.control_plane import ControlPlane
from gastown.local.readiness import find_node, is_node_ready
from gastown.local.town_directory import TownDirectory
from gastown.local.waiting import wait_until

NODE = "process-node"
_READY_SECONDS = 60.0
_AGENT_GRACE_SECONDS = 5.0
# Sessions save their work meanwhile, then the system's pods end.
_PODS_GRACE_SECONDS = 15.0


def start_node(directory: TownDirectory, control_plane: ControlPlane, programs: Programs) -> bool:
    """Have the node's agent run. Pods go on while it is replaced, unless the API server has another address than before.

    Returns:
        Whether it was started now.
    """
    file = directory.configuration / "node.json"
    content = json.dumps(node_configuration(directory, control_plane, programs), indent=1) + "\n"
    if _server_in(file) not in ("", control_plane.server):
        # Somebody took its port while the town was down. Containers have the old one in their environment, and would knock there for ever.
        stop_node(directory)
    if not file.exists() or file.read_text() != content:
        write_atomically(file, content)
    # The code too: after an upgrade of gastown the new agent takes over the pods of the old one.
    sources = sorted((Path(__file__).parent / "node").glob("*.py"))
    # -P: what lies in the current folder must not pose as a module of ours.
    command = Command([sys.executable, "-P", "-m", "gastown.local.node", "--config", str(file)], files=(file, *sources))
    return ChildProcesses(directory).ensure(NODE, command, grace_seconds=_AGENT_GRACE_SECONDS)


def runs_anything(directory: TownDirectory) -> bool:
    """Whether the agent, or a container whose agent died, runs."""
    from gastown.local.node.state_directory import running

    if ChildProcesses(directory).find(NODE) is not None:
        return True
    return any(state.init.is_alive() for _, state in running(directory.node))


def wait_for_node(directory: TownDirectory, client: Client) -> None:
    """Wait until the node's agent runs and has registered.

    Raises:
        LocalTownError: It ended, or was not ready in time; shows the end of its log.
    """
    processes = ChildProcesses(directory)
    name = directory.node_name

    def missing() -> str:
        processes.check(NODE)
        return "" if is_node_ready(find_node(client, name)) else f"node {name} is not Ready"

    wait_until(NODE, missing, timeout_seconds=_READY_SECONDS, remedy=lambda: processes.quote_log(NODE))


def stop_node(directory: TownDirectory) -> int:
    """End the agent, then all containers, also those whose agent had died before.

    Returns:
        How many containers there were.
    """
    from gastown.local.node.state_directory import stop_all_containers

    ChildProcesses(directory).stop(NODE, _AGENT_GRACE_SECONDS)
    return stop_all_containers(directory.node, _PODS_GRACE_SECONDS)


def node_configuration(directory: TownDirectory, control_plane: ControlPlane, programs: Programs) -> dict[str, object]:
    """Content of the agent's configuration file; gastown.local.node.config reads it."""
    certificates = control_plane.certificates
    node, server, provisioner = (certificates.pair(name) for name in ("node", "node-server", "volume-provisioner"))
    tools = sorted({str(programs.kubectl.parent), str(programs.helm.parent)})
    return {
        "nodeName": directory.node_name,
        "apiServer": control_plane.server,
        "caFile": str(certificates.cluster_authority.certificate),
        "clientCertFile": str(node.certificate),
        "clientKeyFile": str(node.key),
        "provisionerCertFile": str(provisioner.certificate),
        "provisionerKeyFile": str(provisioner.key),
        "servingCertFile": str(server.certificate),
        "servingKeyFile": str(server.key),
        "kubeletClientCommonName": KUBELET_CLIENT_NAME,
        "stateDirectory": str(directory.node),
        "volumesDirectory": str(directory.volumes),
        # Containers name their programs without a path: first ours, from the environment that runs this, then the tools.
        "pathEntries": [str(Path(sys.prefix) / "bin"), *tools],
        "readOnlyPaths": [sys.prefix, sys.base_prefix, *_source_roots(), *tools],
        "maskedPaths": [str(Path.home()), "/tmp", "/var/tmp", str(directory.root)],  # noqa: S108 - named to be covered
        "logLevel": "info",
    }


def _server_in(file: Path) -> str:
    """The API server in the agent's configuration, "" if there is none or it is damaged."""
    try:
        return str(json.loads(file.read_text())["apiServer"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _source_roots() -> list[str]:
    """Folders that hold our packages; in a checkout they are outside the virtual environment."""
    roots = []
    for package in ("gastown", "gastown_git"):
        found = importlib.util.find_spec(package)
        if found is not None and found.origin is not None:
            roots.append(str(Path(found.origin).parent.parent))
    return sorted(set(roots))
