"""`gt up`, `gt down` and `gt status` as functions: a whole town on this machine, and nothing of it left when it is down."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from gastown.kube.configuration import Configuration, ConfigurationError, from_kubeconfig
from gastown.kube.errors import ApiError
from gastown.kube.rest import Client
from gastown.kube.retry import NO_RETRY
from gastown.local import control_plane as control_planes
from gastown.local.binaries import Programs, find_programs
from gastown.local.chart import (
    chart_values,
    default_chart,
    install_chart,
    list_releases,
    repo_address,
    repo_url,
    unready_pods,
    wait_for_workloads,
)
from gastown.local.child_processes import ChildProcesses
from gastown.local.cluster_objects import apply_cluster_objects
from gastown.local.control_plane_commands import API_SERVER, CONTROLLER_MANAGER, ETCD, SCHEDULER, Options
from gastown.local.errors import LocalTownError
from gastown.local.keeper import KEEPER, keeper_command
from gastown.local.node_process import NODE, runs_anything, start_node, stop_node, wait_for_node
from gastown.local.ports import is_free
from gastown.local.readiness import find_node, is_node_ready, wait_for_custom_resources, wait_until_writable
from gastown.local.town_directory import DEFAULT_TOWN, TownDirectory, town_directory

Report = Callable[[str], None]
TOWN_NAMESPACE = "town"
PROCESSES = (ETCD, API_SERVER, CONTROLLER_MANAGER, SCHEDULER, NODE, KEEPER)
_STRAYS_GRACE_SECONDS = 5.0
_KEEPER_GRACE_SECONDS = 5.0
_USER_AGENT = "gastown-local"


@dataclass(frozen=True, slots=True)
class RunningTown:
    """A town that is up.

    Attributes:
        directory: Its folder; logs and upstreams are in it.
        kubeconfig: Of the administrator, for the user to export; its default namespace is the town's.
        server: URL of the API server.
        repo_url: Where its repo-server answers, on this machine only.
        programs: kubectl, helm and the others.
        audit_log: One JSON line per request; there only if asked for.
    """

    directory: TownDirectory
    kubeconfig: Path
    server: str
    repo_url: str
    programs: Programs
    audit_log: Path

    @property
    def logs(self) -> Path:
        """Folder with the output of each process."""
        return self.directory.logs

    def environment(self) -> dict[str, str]:
        """KUBECONFIG, and a PATH on which the fitting kubectl and helm come first."""
        folders = dict.fromkeys([str(self.programs.kubectl.parent), str(self.programs.helm.parent)])
        return {"KUBECONFIG": str(self.kubeconfig), "PATH": os.pathsep.join([*folders, os.environ.get("PATH", os.defpath)])}


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """A process of the town.

    Attributes:
        pid: None if it does not run.
    """

    name: str
    pid: int | None
    log: Path


@dataclass(frozen=True, slots=True)
class TownStatus:
    """What runs of a town, and what answers.

    Attributes:
        server: URL of the API server; "" when the town was never up.
        is_api_ready: The API server answers the administrator.
        is_node_ready: The process node says it is.
        sandbox: How the node confines agents; "" when it is not known.
        release: Of the chart, such as "revision 2, deployed"; "" if there is none.
        troubles: One line per system pod that is not ready.
    """

    name: str
    directory: TownDirectory
    processes: tuple[ProcessStatus, ...]
    kubeconfig: Path
    server: str = ""
    is_api_ready: bool = False
    node: str = ""
    is_node_ready: bool = False
    sandbox: str = ""
    release: str = ""
    troubles: tuple[str, ...] = ()
    repo_url: str = ""

    @property
    def is_up(self) -> bool:
        """Whether everything runs and answers."""
        runs = all(process.pid is not None for process in self.processes)
        return runs and self.is_api_ready and self.is_node_ready and self.release.endswith("deployed") and not self.troubles


def up(
    name: str = DEFAULT_TOWN,
    *,
    report: Report,
    directory: TownDirectory | None = None,
    chart: Path | None = None,
    options: Options | None = None,
) -> RunningTown:
    """Bring a town up, or what is missing of it; in a running town nothing changes.

    Args:
        name: Several towns run beside each other under different names.
        report: Told each step, one line.
        directory: Somewhere else than the user's state folder; for tests.
        chart: Folder of the chart; that of the checkout by default.
        options: Of the control plane, for tests and benchmarks.

    Raises:
        LocalTownError: Something does not start; says what, why, and what to do.
    """
    place = directory or town_directory(name)
    chart_folder = chart or default_chart()
    with _telling_of_the_disk(place), place.lock(report):
        programs = find_programs(report)
        _check_repo_address(place)
        wanted = replace(options or Options(), default_namespace=TOWN_NAMESPACE)
        control_plane = control_planes.start(place, programs, wanted, report)
        with Client(control_plane.configuration(), user_agent=_USER_AGENT) as client:
            apply_cluster_objects(client)
            if start_node(place, control_plane, programs):
                report(f"starting the process node {place.node_name}")
            ChildProcesses(place).ensure(KEEPER, keeper_command(place), grace_seconds=_KEEPER_GRACE_SECONDS)
            control_planes.wait_for_controllers(control_plane, place)
            wait_for_node(place, client)
            install_chart(place, client, programs.helm, chart_folder, chart_values(place, TOWN_NAMESPACE), report)
            wait_for_custom_resources(client)
            wait_for_workloads(client)
            wait_until_writable(client, TOWN_NAMESPACE)
    return RunningTown(place, control_plane.kubeconfig, control_plane.server, repo_url(place), programs, control_plane.audit_log)


def down(name: str = DEFAULT_TOWN, *, report: Report, directory: TownDirectory | None = None) -> None:
    """Stop a town and everything that runs in it; its data stays.

    Args:
        name: As for `up`.
    """
    place = directory or town_directory(name)
    if not place.root.exists():
        report(f"town {place.name} was never up: {place.root} does not exist")
        return
    with _telling_of_the_disk(place), place.lock(report):
        place.create()
        # It waits for the lock that we hold, or sleeps: it can not start again what is stopped below.
        ChildProcesses(place).stop(KEEPER, _KEEPER_GRACE_SECONDS)
        # Clients before servers: sessions still save their work, and the API server is not held up by watchers.
        containers = stop_node(place)
        if containers:
            report(f"stopped {containers} containers")
        control_planes.stop(place)
        if strays := ChildProcesses(place).stop_strays(_STRAYS_GRACE_SECONDS):
            report(f"stopped {strays} processes that nobody had recorded")
        report(f"town {place.name} is down; its data stays in {place.root}")


def status(name: str = DEFAULT_TOWN, *, directory: TownDirectory | None = None) -> TownStatus:
    """Look at a town without changing anything."""
    place = directory or town_directory(name)
    processes = ChildProcesses(place)
    found = [(process, processes.find(process)) for process in PROCESSES]
    rows = tuple(ProcessStatus(process, identity.pid if identity else None, place.log_of(process)) for process, identity in found)
    nothing = TownStatus(place.name, place, rows, place.admin_kubeconfig)
    try:
        configuration = from_kubeconfig(place.admin_kubeconfig)
    except ConfigurationError:
        return nothing
    try:
        return _ask_api_server(nothing, configuration)
    except ApiError:
        return TownStatus(place.name, place, rows, place.admin_kubeconfig, server=configuration.server)


def upstreams_directory(name: str = DEFAULT_TOWN) -> Path:
    """Folder for bare repositories that a Rig of this town may name as its file:// upstream, by file:///srv/upstreams/NAME.git."""
    return town_directory(name).upstreams


@contextmanager
def _telling_of_the_disk(directory: TownDirectory) -> Iterator[None]:
    """A disk that takes nothing more, as a sentence."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        raise LocalTownError(f"town {directory.name}: {error.strerror} in {directory.root}; make room there, then try again") from error


def _check_repo_address(directory: TownDirectory) -> None:
    """See that nobody listens where this town's repo-server has to."""
    host, port = repo_address(directory)
    if runs_anything(directory) or is_free(port, host):
        return
    raise LocalTownError(
        f"town {directory.name}: {host}:{port}, where its repo-server has to listen, is taken by another program; "
        "stop that one, then try again"
    )


def _ask_api_server(known: TownStatus, configuration: Configuration) -> TownStatus:
    with Client(configuration, user_agent=_USER_AGENT, deadline_seconds=5.0, policy=NO_RETRY) as client:
        node = find_node(client, known.directory.node_name)
        releases = list_releases(client)
        return TownStatus(
            known.name,
            known.directory,
            known.processes,
            known.kubeconfig,
            server=configuration.server,
            is_api_ready=True,
            node=known.directory.node_name,
            is_node_ready=is_node_ready(node),
            sandbox=(node or {}).get("metadata", {}).get("labels", {}).get("gastown.dev/sandbox", ""),
            release=f"revision {releases[-1].revision}, {releases[-1].status}" if releases else "",
            troubles=tuple(unready_pods(client)),
            repo_url=repo_url(known.directory) if releases else "",
        )
