"""From a pod's container to the specification its shim gets."""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gastown
from gastown.local.node.config import NodeConfig
from gastown.local.node.environment import expand
from gastown.local.node.mounts import Bind, plan_root
from gastown.local.node.rewriting import rewrite

DEFAULT_TERMINATION_LOG = "/dev/termination-log"
SERVICE_ACCOUNT_DIRECTORY = "/var/run/secrets/kubernetes.io/serviceaccount"
# Where a distribution keeps what /etc or PATH point to, although it is below a directory we cover.
_NEEDED_BELOW_COVERS = ("/run/current-system", "/run/wrappers", "/etc/resolv.conf")


class ContainerProblem(Exception):
    """The container cannot be started as written; the message says what to change."""


@dataclass(frozen=True, slots=True)
class HostView:
    """What every container of this node sees of the host.

    Attributes:
        confined: Whether this machine allows the namespace sandbox.
        home: Covered, and every container's HOME unless it sets its own.
    """

    confined: bool
    home: str
    masked: tuple[str, ...]
    visible: tuple[str, ...]


def host_view(config: NodeConfig, memory_directory: Path, *, confined: bool) -> HostView:
    """Decide once per agent what is covered and what stays visible below the covers."""
    home = os.environ.get("HOME") or pwd.getpwuid(os.geteuid()).pw_dir
    masked = (*config.masked_paths, home, str(config.state_directory), str(config.volumes_directory), str(memory_directory))
    # The interpreter and this very package may live in the covered home: pyenv, a checkout, a virtual environment.
    own = (sys.base_prefix, sys.prefix, str(Path(gastown.__file__).parent.parent))
    needed = [os.path.realpath(path) for path in _NEEDED_BELOW_COVERS if Path(path).exists()]
    return HostView(confined, home, masked, (*config.read_only_paths, *config.path_entries, *own, *needed))


def build_specification(
    pod: Mapping[str, Any],
    container: Mapping[str, Any],
    environment: Mapping[str, str],
    binds: Sequence[Bind],
    view: HostView,
    directory: Path,
    hosts_file: Path,
) -> dict[str, Any]:
    """The whole order to the shim, for one run.

    Args:
        environment: Resolved, complete.
        binds: The container's volume mounts.
        directory: Of this run; it exists. `root`, `scratch` and `termination-log` are made in it.
        hosts_file: Shown as /etc/hosts.

    Raises:
        ContainerProblem: There is no command, or it is to run as root and must not.
    """
    _check_user(pod, container)
    arguments = [expand(each, environment) for each in [*(container.get("command") or []), *(container.get("args") or [])]]
    if not container.get("command"):
        raise ContainerProblem("no command is given; the process node runs no images, so set `command` to a program that is on PATH")
    for name in ("root", "scratch"):
        (directory / name).mkdir(exist_ok=True)
    termination_log = directory / "termination-log"
    termination_log.touch(mode=0o666)
    termination_path = container.get("terminationMessagePath") or DEFAULT_TERMINATION_LOG
    specification: dict[str, Any] = {
        "run_directory": str(directory),
        "confined": view.confined,
        "root": str(directory / "root"),
        "hostname": pod["spec"].get("hostname") or pod["metadata"]["name"],
        "arguments": arguments,
        "environment": dict(environment),
        "working_directory": container.get("workingDir") or "/",
        "plan": {},
    }
    if view.confined:
        own = [Bind(termination_path, str(termination_log), read_only=False)]
        if not any(bind.target == "/etc/hosts" for bind in binds):
            own.append(Bind("/etc/hosts", str(hosts_file), read_only=True))
        specification["plan"] = plan_root([*own, *binds], view.masked, view.visible, str(directory / "scratch"))
        return specification
    return _unconfined(specification, {bind.target: bind.source for bind in binds} | {termination_path: str(termination_log)})


def _check_user(pod: Mapping[str, Any], container: Mapping[str, Any]) -> None:
    """What a kubelet would refuse is refused here too, though every container runs as the user of the node."""
    context = {**(pod["spec"].get("securityContext") or {}), **(container.get("securityContext") or {})}
    if context.get("runAsNonRoot") and context.get("runAsUser") == 0:
        raise ContainerProblem("runAsUser is 0 and runAsNonRoot is true; set runAsUser to another user, or leave out runAsNonRoot")


def _unconfined(specification: dict[str, Any], paths: Mapping[str, str]) -> dict[str, Any]:
    scratch = specification["run_directory"] + "/scratch"
    environment = {name: rewrite(value, paths) for name, value in specification["environment"].items()}
    environment.setdefault("TMPDIR", scratch)
    # Client libraries hard-code these two places; ours ask the environment first.
    environment["GASTOWN_TERMINATION_LOG"] = next(path for path in paths.values() if path.endswith("/termination-log"))
    if SERVICE_ACCOUNT_DIRECTORY in paths:
        environment["GASTOWN_SERVICEACCOUNT_DIR"] = paths[SERVICE_ACCOUNT_DIRECTORY]
        environment.setdefault("KUBECONFIG", _write_kubeconfig(scratch, paths[SERVICE_ACCOUNT_DIRECTORY], environment))
    return specification | {
        "arguments": [rewrite(each, paths) for each in specification["arguments"]],
        "environment": environment,
        "working_directory": rewrite(specification["working_directory"], paths),
    }


def _write_kubeconfig(directory: str, account: str, environment: Mapping[str, str]) -> str:
    import json

    server = f"https://{environment.get('KUBERNETES_SERVICE_HOST')}:{environment.get('KUBERNETES_SERVICE_PORT')}"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "pod",
        "clusters": [{"name": "pod", "cluster": {"server": server, "certificate-authority": f"{account}/ca.crt"}}],
        "users": [{"name": "pod", "user": {"tokenFile": f"{account}/token"}}],
        "contexts": [{"name": "pod", "context": {"cluster": "pod", "user": "pod"}}],
    }
    path = Path(directory) / "kubeconfig"
    path.write_text(json.dumps(content), encoding="utf-8")
    return str(path)
