"""A real control plane for tests: one per run, a namespace per test, nothing left running, however the run ends.

Fixtures: `api_server` (etcd and kube-apiserver with our kinds), `namespace` (a fresh one in it), `town_cluster` (a whole town with
process node and chart). tests/conftest.py imports them.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gastown.kube.configuration import Configuration
from gastown.kube.rest import Client
from gastown.local import control_plane as control_planes
from gastown.local import town
from gastown.local.binaries import Programs, find_programs
from gastown.local.certificates import Certificates
from gastown.local.child_processes import ChildProcesses
from gastown.local.control_plane_commands import Options
from gastown.local.readiness import wait_for_custom_resources
from gastown.local.town_directory import TownDirectory

ROOT = Path(__file__).parent.parent.parent
CRDS = ROOT / "crds"
GUARDIAN = Path(__file__).parent / "guardian.py"
SMALL_CHART = ROOT / "tests" / "data" / "charts" / "small"
# Nobody needs a test's data after a power cut.
FAST = Options(durable=False)
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Cluster:
    """A control plane that answers.

    Attributes:
        directory: Its files: logs, kubeconfigs, upstreams.
        programs: Where kubectl and the others are.
        server: URL of the API server.
        audit_log: One JSON line per request, if it was started with Options(audit=True).
    """

    directory: TownDirectory
    programs: Programs
    server: str
    audit_log: Path

    @property
    def kubeconfig(self) -> Path:
        """Of the administrator."""
        return self.directory.admin_kubeconfig

    def configuration(self, identity: str = "admin") -> Configuration:
        """For our own clients, as one of the town's identities: admin, node, volume-provisioner, kube-scheduler, ..."""
        certificates = Certificates(self.directory.certificates)
        pair = certificates.pair(identity)
        return Configuration(
            server=self.server,
            authority_file=str(certificates.cluster_authority.certificate),
            certificate_file=str(pair.certificate),
            key_file=str(pair.key),
        )

    def client(self, identity: str = "admin") -> Client:
        """Our own blocking client as one of the town's identities."""
        return Client(self.configuration(identity), user_agent="gastown-tests")

    def pids(self) -> dict[str, int]:
        """The town's processes that run."""
        processes = ChildProcesses(self.directory)
        found = {name: processes.find(name) for name in processes.names()}
        return {name: identity.pid for name, identity in found.items() if identity is not None}

    def kubectl(
        self, *arguments: str, stdin: str | None = None, check: bool = True, timeout_seconds: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as administrator; stdout and stderr as text.

        Args:
            check: Fail the test when kubectl does.
        """
        command = [str(self.programs.kubectl), f"--kubeconfig={self.kubeconfig}", *arguments]
        answer = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout_seconds, check=False)
        if check and answer.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(arguments)} failed with exit code {answer.returncode}: {answer.stderr.strip()}")
        return answer

    def apply(self, *objects: dict[str, Any]) -> None:
        """kubectl apply of objects given as dicts."""
        self.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))

    def get(self, kind: str, name: str, namespace: str) -> dict[str, Any]:
        """One object, as kubectl gets it."""
        found: dict[str, Any] = json.loads(self.kubectl("get", kind, name, "-n", namespace, "-o", "json").stdout)
        return found

    def make_namespace(self, name: str) -> str:
        """A namespace with its default ServiceAccount, which nobody else makes where no controllers run."""
        self.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}},
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}},
        )
        return name


def programs() -> Programs:
    """The programs, built if need be."""
    return find_programs(tell)


@contextmanager
def running(root: Path, options: Options) -> Iterator[Cluster]:
    """A control plane in a folder of its own for the length of a `with` block."""
    directory = TownDirectory("test", root)
    with guarded(directory):
        yield start(directory, options)


@contextmanager
def town_in(root: Path, chart: Path | None = None, options: Options = FAST) -> Iterator[Cluster]:
    """A whole town in a folder of its own for the length of a `with` block.

    Args:
        chart: charts/gastown by default.
    """
    directory = TownDirectory("test", root)
    with guarded(directory):
        up = town.up(report=tell, directory=directory, chart=chart, options=options)
        yield Cluster(directory, up.programs, up.server, up.audit_log)


def start(directory: TownDirectory, options: Options) -> Cluster:
    """Start a control plane, or find that it runs; the caller stops it."""
    found = programs()
    control_plane = control_planes.start(directory, found, options, tell)
    return Cluster(directory, found, control_plane.server, control_plane.audit_log)


def tell(line: str) -> None:
    """Steps of a start, shown when a test fails."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def guarded(directory: TownDirectory) -> Iterator[None]:
    """Have the town stopped at the end of a `with` block, also when this process is killed."""
    guardian = subprocess.Popen([sys.executable, str(GUARDIAN), str(directory.root)], stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield
    finally:
        assert guardian.stdin is not None
        guardian.stdin.close()
        guardian.wait(timeout=90)


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """etcd and kube-apiserver with our CRDs, shared by the run; no controllers, so nothing happens by itself."""
    with running(tmp_path_factory.mktemp("api-server") / "town", Options(durable=False, controllers=False)) as cluster:
        cluster.kubectl("apply", "--server-side", "-f", str(CRDS))
        with cluster.client() as client:
            wait_for_custom_resources(client)
        yield cluster


@pytest.fixture(scope="session")
def town_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A whole town as `gt up` makes it: control plane, process node, charts/gastown; shared by the run."""
    with town_in(tmp_path_factory.mktemp("town") / "town") as cluster:
        yield cluster


@pytest.fixture
def namespace(api_server: Cluster, request: pytest.FixtureRequest) -> str:
    """A fresh namespace of `api_server`; never deleted, since without controllers that would not end."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower().removeprefix("test_"))[:40].strip("-")
    return api_server.make_namespace(f"t{next(_numbers)}-{os.getpid()}-{words}".rstrip("-"))
