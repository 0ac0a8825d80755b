"""Brings up a real Kubernetes control plane as child processes on loopback, and takes it down again without losing anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gastown.kube.configuration import Configuration
from gastown.kube.http import Connection, TransportError
from gastown.local import control_plane_commands as commands
from gastown.local.atomic_file import write_atomically
from gastown.local.binaries import Programs
from gastown.local.certificates import Certificates, Pair, ensure_certificates
from gastown.local.child_processes import ChildProcesses
from gastown.local.control_plane_commands import API_SERVER, CONTROLLER_MANAGER, ETCD, SCHEDULER, Options, Settings
from gastown.local.errors import ProcessEnded
from gastown.local.kubeconfig import write_kubeconfig
from gastown.local.ports import is_free, keep_ports
from gastown.local.town_directory import TownDirectory
from gastown.local.waiting import wait_until

START_SECONDS = 60.0
# Watchers that speak HTTP/1.1 keep a SIGTERMed kube-apiserver alive for a minute. Killing it loses nothing: its state is in etcd.
_API_SERVER_GRACE_SECONDS = 3.0
_GRACE_SECONDS = 10.0
_START_ATTEMPTS = 3
_LISTENERS = (ETCD, API_SERVER)


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """A control plane that answers.

    Attributes:
        server: URL of the API server.
        certificates: Its authorities and identities.
        kubeconfig: Of the administrator.
        audit_log: One JSON line per request; there only with `Options.audit`.
        was_started: Whether this call started kube-apiserver.
    """

    server: str
    certificates: Certificates
    kubeconfig: Path
    audit_log: Path
    was_started: bool

    def configuration(self, identity: str = "admin") -> Configuration:
        """For our own clients.

        Args:
            identity: Name of a client certificate, such as node.
        """
        pair = self.certificates.pair(identity)
        authority = self.certificates.cluster_authority.certificate
        return Configuration(
            server=self.server, authority_file=str(authority), certificate_file=str(pair.certificate), key_file=str(pair.key)
        )


def start(directory: TownDirectory, programs: Programs, options: Options, report: Callable[[str], None]) -> ControlPlane:
    """Start what does not run and wait until the API server is ready. The caller holds the town's lock.

    Raises:
        LocalTownError: Something did not start; shows the end of its log.
    """
    directory.create()
    certificates = ensure_certificates(directory.certificates, directory.node_name, commands.SERVICE_ADDRESS)
    processes = ChildProcesses(directory)
    for attempt in range(1, _START_ATTEMPTS + 1):
        held = [name for name in _LISTENERS if processes.find(name) is not None]
        settings = Settings(directory, programs, certificates, keep_ports(directory.ports, _LISTENERS, held), options)
        try:
            was_started = _start_processes(settings, processes, report)
            break
        except ProcessEnded as ended:
            # Try again after what the next attempt can heal: a process that we found was just ending, or somebody took the port
            # between our look and its start. Any other cause would end the same way.
            was_ending = not processes.was_started_here(ended.name)
            lost_its_port = ended.name in _LISTENERS and not is_free(settings.ports[ended.name])
            if attempt == _START_ATTEMPTS or not (was_ending or lost_its_port):
                raise
    return ControlPlane(settings.server, certificates, directory.admin_kubeconfig, settings.audit_log, was_started)


def stop(directory: TownDirectory) -> None:
    """Stop it, whatever part of it runs. Its clients should be stopped before. The caller holds the town's lock."""
    processes = ChildProcesses(directory)
    # Writers first, then the server, then its storage: in this order each can finish what it does.
    for name in (CONTROLLER_MANAGER, SCHEDULER):
        processes.stop(name, _GRACE_SECONDS)
    processes.stop(API_SERVER, _API_SERVER_GRACE_SECONDS)
    processes.stop(ETCD, _GRACE_SECONDS)


def _start_processes(settings: Settings, processes: ChildProcesses, report: Callable[[str], None]) -> bool:
    _write_files(settings)
    if processes.ensure(ETCD, commands.etcd(settings)):
        report("starting etcd")
    _wait_for_http(
        ETCD, settings.etcd, "/health", settings.certificates.pair("etcd-client"), settings.certificates.etcd_authority, processes
    )
    was_started = processes.ensure(API_SERVER, commands.api_server(settings), grace_seconds=_API_SERVER_GRACE_SECONDS)
    if was_started:
        report("starting kube-apiserver")
    _wait_for_http(
        API_SERVER, settings.server, "/readyz", settings.certificates.pair("admin"), settings.certificates.cluster_authority, processes
    )
    if settings.options.controllers:
        started = [
            name
            for name, command in ((CONTROLLER_MANAGER, commands.controller_manager), (SCHEDULER, commands.scheduler))
            if processes.ensure(name, command(settings))
        ]
        if started:
            report(f"starting {' and '.join(started)}")
    else:
        for name in (CONTROLLER_MANAGER, SCHEDULER):
            processes.stop(name, _GRACE_SECONDS)
    return was_started


def wait_for_controllers(control_plane: ControlPlane, directory: TownDirectory) -> None:
    """Wait until controller-manager works: it has made the ServiceAccount without which no pod can be created.

    Raises:
        LocalTownError: It ended, or did not in time.
    """
    processes = ChildProcesses(directory)
    path = "/api/v1/namespaces/default/serviceaccounts/default"
    certificates = control_plane.certificates
    _wait_for_http(CONTROLLER_MANAGER, control_plane.server, path, certificates.pair("admin"), certificates.cluster_authority, processes)
    processes.check(SCHEDULER)


def _write_files(settings: Settings) -> None:
    context = f"gastown-{settings.directory.name}"
    authority = settings.certificates.cluster_authority.certificate
    for name in ("admin", CONTROLLER_MANAGER, SCHEDULER):
        file = settings.directory.kubeconfigs / f"{name}.yaml"
        namespace = settings.options.default_namespace if name == "admin" else "default"
        write_kubeconfig(file, settings.server, authority, settings.certificates.pair(name), context=context, namespace=namespace)
    if settings.options.audit:
        write_atomically(settings.audit_policy, commands.AUDIT_POLICY)


def _wait_for_http(name: str, server: str, path: str, identity: Pair, authority: Pair, processes: ChildProcesses) -> None:
    """Wait until a process answers a GET with 200, or is seen to have ended."""
    configuration = Configuration(
        server=server, authority_file=str(authority.certificate), certificate_file=str(identity.certificate), key_file=str(identity.key)
    )
    connection = Connection(server, configuration.ssl_context())

    def missing() -> str:
        processes.check(name)
        try:
            answer = connection.request("GET", path, {}, None, 5.0)
        except TransportError as error:
            return str(error)
        return "" if answer.status == 200 else f"GET {path} answers {answer.status}: {answer.body[:200].decode('utf-8', 'replace').strip()}"

    try:
        wait_until(name, missing, timeout_seconds=START_SECONDS, remedy=lambda: processes.quote_log(name))
    finally:
        connection.close()
