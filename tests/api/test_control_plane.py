"""The local control plane by itself: who gets in, what survives a kill, and that a second start changes nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gastown.kube.configuration import Configuration
from gastown.kube.errors import Forbidden, Unauthorized
from gastown.kube.http import Connection, TransportError
from gastown.kube.rest import Client
from gastown.local import control_plane as control_planes
from gastown.local.certificates import Certificates
from gastown.local.child_processes import TOWN_VARIABLE
from gastown.local.control_plane_commands import Options
from gastown.local.errors import LocalTownError
from gastown.local.process_identity import find_by_environment
from gastown.local.town_directory import TownDirectory
from support.cluster import CRDS, Cluster, guarded, start
from support.eventually import eventually

pytestmark = pytest.mark.cluster
API_ONLY = Options(durable=False, controllers=False)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[TownDirectory]:
    """Of a control plane that a test starts, kills and starts again."""
    made = TownDirectory("test", tmp_path / "town")
    with guarded(made):
        yield made


def processes_of(directory: TownDirectory) -> list[int]:
    return [identity.pid for identity in find_by_environment(TOWN_VARIABLE, str(directory.root))]


def ask_etcd(cluster: Cluster, client: str = "") -> int:
    """GET of etcd's health as one of the town's identities, or without a certificate."""
    certificates = Certificates(cluster.directory.certificates)
    context = ssl.create_default_context(cafile=str(certificates.etcd_authority.certificate))
    if client:
        context.load_cert_chain(certificates.pair(client).certificate, certificates.pair(client).key)
    port = json.loads(cluster.directory.ports.read_text())["etcd"]
    return Connection(f"https://127.0.0.1:{port}", context).request("GET", "/health", {}, None, 5.0).status


def test_our_kinds_answer(api_server: Cluster) -> None:
    listed = api_server.kubectl("api-resources", "--api-group=gastown.dev", "-o", "name").stdout.split()
    assert len(listed) == len(list(CRDS.glob("*.yaml"))) > 0


def test_each_test_has_a_namespace_of_its_own(api_server: Cluster, namespace: str) -> None:
    assert api_server.get("serviceaccount", "default", namespace)["metadata"]["namespace"] == namespace


def test_nobody_gets_in_without_credentials(api_server: Cluster) -> None:
    nobody = Configuration(server=api_server.server, authority_file=api_server.configuration().authority_file)
    for path in ("/api/v1/namespaces", "/readyz", "/version"):
        with Client(nobody, user_agent="nobody") as client, pytest.raises(Unauthorized):
            client.request("GET", path)


def test_etcd_refuses_a_caller_without_a_certificate(api_server: Cluster) -> None:
    with pytest.raises(TransportError):
        ask_etcd(api_server)


@pytest.mark.parametrize("identity", ["admin", "node", "kube-controller-manager", "volume-provisioner"])
def test_etcd_refuses_every_identity_of_the_api_server(api_server: Cluster, identity: str) -> None:
    with pytest.raises(TransportError):
        ask_etcd(api_server, identity)


def test_etcd_answers_its_one_client(api_server: Cluster) -> None:
    assert ask_etcd(api_server, "etcd-client") == 200


@pytest.mark.parametrize("identity", ["node", "volume-provisioner"])
def test_the_node_s_identities_can_not_read_secrets(api_server: Cluster, identity: str) -> None:
    with api_server.client(identity) as client, pytest.raises(Forbidden):
        client.request("GET", "/api/v1/secrets")


def test_a_second_start_changes_nothing(api_server: Cluster) -> None:
    before = api_server.pids()
    made = [file for name in ("certificates", "kubeconfigs", "run") for file in (api_server.directory.root / name).iterdir()]
    times = {file: file.stat().st_mtime_ns for file in made}
    again = control_planes.start(api_server.directory, api_server.programs, API_ONLY, report=pytest.fail)
    assert not again.was_started
    assert api_server.pids() == before
    assert {file: file.stat().st_mtime_ns for file in made} == times


def test_what_was_stored_survives_the_kill_of_everything(directory: TownDirectory) -> None:
    cluster = start(directory, API_ONLY)
    cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept", "namespace": "default"}})
    for pid in cluster.pids().values():
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not processes_of(directory))
    again = start(directory, API_ONLY)
    assert again.server == cluster.server
    assert again.get("configmap", "kept", "default")["metadata"]["name"] == "kept"


def test_a_port_that_somebody_took_meanwhile_is_replaced_in_the_kubeconfigs_too(directory: TownDirectory) -> None:
    cluster = start(directory, API_ONLY)
    control_planes.stop(directory)
    port = int(cluster.server.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)):
        again = start(directory, API_ONLY)
        assert again.server != cluster.server
        again.kubectl("get", "namespaces")


def test_after_stop_no_process_is_left(directory: TownDirectory) -> None:
    start(directory, API_ONLY)
    assert len(processes_of(directory)) == 2
    control_planes.stop(directory)
    assert processes_of(directory) == []


def test_nothing_is_left_when_the_test_process_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys, time, pathlib; from support.cluster import running\n"
        "from gastown.local.control_plane_commands import Options\n"
        "with running(pathlib.Path(sys.argv[1]), Options(durable=False, controllers=False)):\n"
        "    print('up', flush=True); time.sleep(600)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    directory = TownDirectory("test", tmp_path / "town")
    with subprocess.Popen([sys.executable, "-c", script, str(directory.root)], stdout=subprocess.PIPE, env=environment) as test:
        assert test.stdout is not None
        assert test.stdout.readline() == b"up\n"
        assert len(processes_of(directory)) == 2
        test.kill()
    eventually(lambda: not processes_of(directory), 60)


def test_a_process_that_can_not_start_is_told_with_its_log(directory: TownDirectory) -> None:
    directory.create()
    (directory.etcd_data / "member").write_text("this is no folder")
    with pytest.raises(LocalTownError, match="etcd ended before it was ready") as error:
        start(directory, API_ONLY)
    assert str(directory.log_of("etcd")) in str(error.value)
    assert "not a directory" in str(error.value)


def test_the_audit_log_names_each_caller(directory: TownDirectory) -> None:
    cluster = start(directory, Options(durable=False, controllers=False, audit=True))
    cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "seen", "namespace": "default"}})
    events = [json.loads(line) for line in cluster.audit_log.read_text().splitlines()]
    writes = [event for event in events if event.get("objectRef", {}).get("name") == "seen" and event["verb"] == "patch"]
    assert [event["user"]["username"] for event in writes] == ["gastown:admin"]
    assert {event["stage"] for event in events} <= {"ResponseStarted", "ResponseComplete", "Panic"}
    assert all("requestObject" not in event for event in events)
