"""Up and down of a whole town, with a small chart in place of ours: what is tested is the town, not what runs in it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gastown.local import town
from gastown.local.chart import list_releases
from gastown.local.control_plane_commands import API_SERVER
from gastown.local.errors import LocalTownError
from gastown.local.keeper import KEEPER
from gastown.local.node.state_directory import running as containers
from gastown.local.ports import is_free, keep_ports
from support.cluster import FAST, SMALL_CHART, Cluster, tell, town_in
from support.eventually import eventually
from support.left_behind import left_behind

pytestmark = pytest.mark.cluster
SYSTEM = "gastown-system"


@pytest.fixture(scope="module")
def small_town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A town that these tests stop, kill and bring up again."""
    with town_in(tmp_path_factory.mktemp("small") / "town", chart=SMALL_CHART) as cluster:
        yield cluster


def up_again(cluster: Cluster, chart: Path = SMALL_CHART) -> list[str]:
    """Call up again; what it reported."""
    told: list[str] = []
    town.up(report=told.append, directory=cluster.directory, chart=chart, options=FAST)
    return told


def keep(cluster: Cluster, name: str) -> None:
    cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}})


def revisions(cluster: Cluster) -> list[tuple[int, str]]:
    with cluster.client() as client:
        return [(release.revision, release.status) for release in list_releases(client)]


def test_up_again_in_a_running_town_changes_nothing_and_is_quick(small_town: Cluster) -> None:
    pids, before = small_town.pids(), revisions(small_town)
    begin = time.monotonic()
    assert up_again(small_town) == []
    assert time.monotonic() - begin < 120
    assert small_town.pids() == pids
    assert revisions(small_town) == before


def test_status_tells_every_process_node_chart_and_address(small_town: Cluster) -> None:
    status = town.status(directory=small_town.directory)
    assert {process.name: process.pid for process in status.processes} == small_town.pids()
    assert len(status.processes) == 6
    assert status.is_up
    assert status.server == small_town.server
    assert status.release.endswith("deployed")
    assert status.sandbox in ("namespaces", "none")


def test_a_claim_gets_a_volume_below_the_town_s_folder(small_town: Cluster) -> None:
    claim = small_town.get("pvc", "data-store-0", SYSTEM)
    volume = json.loads(small_town.kubectl("get", "pv", claim["spec"]["volumeName"], "-o", "json").stdout)
    assert volume["spec"]["hostPath"]["path"].startswith(str(small_town.directory.volumes))


def test_two_towns_are_up_beside_each_other(small_town: Cluster, tmp_path: Path) -> None:
    with town_in(tmp_path / "second", chart=SMALL_CHART) as second:
        first_status, second_status = (town.status(directory=cluster.directory) for cluster in (small_town, second))
        assert first_status.is_up
        assert second_status.is_up
        assert first_status.repo_url != second_status.repo_url
        assert not set(small_town.pids().values()) & set(second.pids().values())
    assert left_behind(second.directory) == []
    assert town.status(directory=small_town.directory).is_up


def test_another_chart_is_installed_by_up(small_town: Cluster, tmp_path: Path) -> None:
    shutil.copytree(SMALL_CHART, tmp_path / "chart")
    extra = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra}\n"
    (tmp_path / "chart" / "templates" / "extra.yaml").write_text(extra)
    last = revisions(small_town)[-1][0]
    up_again(small_town, tmp_path / "chart")
    assert small_town.get("configmap", "extra", SYSTEM)
    assert revisions(small_town)[-1] == (last + 1, "deployed")
    up_again(small_town)
    assert small_town.kubectl("get", "configmap", "extra", "-n", SYSTEM, check=False).returncode != 0


def test_an_installation_that_was_killed_is_no_obstacle(small_town: Cluster, tmp_path: Path) -> None:
    shutil.copytree(SMALL_CHART, tmp_path / "chart")
    stuck = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: stuck, annotations: {helm.sh/hook: pre-upgrade}}\n" + (
        "spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: none, command: [sleep, '600']}]}}}\n"
    )
    (tmp_path / "chart" / "templates" / "stuck.yaml").write_text(stuck)
    command = [str(small_town.programs.helm), "upgrade", "gastown", str(tmp_path / "chart"), "-n", SYSTEM]
    with subprocess.Popen([*command, "--kubeconfig", str(small_town.kubeconfig)], stdout=subprocess.DEVNULL) as helm:
        eventually(lambda: revisions(small_town)[-1][1] == "pending-upgrade", 60, "helm has begun")
        helm.kill()
    up_again(small_town)
    assert revisions(small_town)[-1][1] == "deployed"
    small_town.kubectl("delete", "job", "stuck", "-n", SYSTEM, "--ignore-not-found", "--wait=false")


def test_a_chart_that_does_not_work_is_told_with_helm_s_words(small_town: Cluster, tmp_path: Path) -> None:
    shutil.copytree(SMALL_CHART, tmp_path / "chart")
    (tmp_path / "chart" / "templates" / "bad.yaml").write_text("apiVersion: v1\nkind: NoSuchKind\nmetadata: {name: bad}\n")
    with pytest.raises(LocalTownError, match="NoSuchKind"):
        up_again(small_town, tmp_path / "chart")
    up_again(small_town)


def kill_keeper(cluster: Cluster) -> None:
    """From here on nobody but `gt up` starts again what ends."""
    os.kill(cluster.pids()[KEEPER], signal.SIGKILL)
    eventually(lambda: KEEPER not in cluster.pids())


def test_everything_killed_comes_back_with_all_objects(small_town: Cluster) -> None:
    keep(small_town, "before-the-kill")
    kill_keeper(small_town)
    for pid in small_town.pids().values():
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not small_town.pids())
    up_again(small_town)
    assert small_town.get("configmap", "before-the-kill", "default")
    assert town.status(directory=small_town.directory).is_up


def test_containers_whose_agent_was_killed_go_on_and_are_adopted(small_town: Cluster) -> None:
    before = small_town.get("pod", "store-0", SYSTEM)["status"]["containerStatuses"][0]
    kill_keeper(small_town)
    os.kill(small_town.pids()["process-node"], signal.SIGKILL)
    assert f"starting the process node {small_town.directory.node_name}" in up_again(small_town)
    after = small_town.get("pod", "store-0", SYSTEM)["status"]["containerStatuses"][0]
    assert (after["containerID"], after["restartCount"]) == (before["containerID"], before["restartCount"])


def test_down_leaves_no_process_and_keeps_the_data(small_town: Cluster) -> None:
    keep(small_town, "before-down")
    town.down(report=tell, directory=small_town.directory)
    assert left_behind(small_town.directory) == []
    status = town.status(directory=small_town.directory)
    assert not status.is_up
    assert [process.pid for process in status.processes] == [None] * 6
    town.down(report=tell, directory=small_town.directory)
    up_again(small_town)
    assert small_town.get("configmap", "before-down", "default")
    assert town.status(directory=small_town.directory).is_up


def test_down_after_the_agent_was_killed_ends_its_containers_too(small_town: Cluster) -> None:
    kill_keeper(small_town)
    os.kill(small_town.pids()["process-node"], signal.SIGKILL)
    town.down(report=tell, directory=small_town.directory)
    assert left_behind(small_town.directory) == []
    up_again(small_town)


@pytest.mark.soak
def test_files_that_a_power_cut_left_half_written_or_empty_are_made_again(small_town: Cluster) -> None:
    keep(small_town, "before-the-cut")
    town.down(report=tell, directory=small_town.directory)
    # Not etcd's, which has checksums and a log of its own, and not what belongs to users.
    spared = (small_town.directory.etcd_data, small_town.directory.volumes, small_town.directory.logs, small_town.directory.upstreams)
    files = [file for file in small_town.directory.root.rglob("*") if file.is_file() and not file.is_symlink()]
    for number, file in enumerate(sorted(file for file in files if not any(file.is_relative_to(folder) for folder in spared))):
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2] if number % 2 else b"")
    up_again(small_town)
    assert town.status(directory=small_town.directory).is_up
    assert small_town.get("configmap", "before-the-cut", "default")


# The last one: from here on the town has another address than the fixture says.
def test_a_port_that_a_stranger_took_meanwhile_is_left_to_him(small_town: Cluster) -> None:
    port = keep_ports(small_town.directory.ports, [API_SERVER], [API_SERVER])[API_SERVER]
    kill_keeper(small_town)
    os.kill(small_town.pids()[API_SERVER], signal.SIGKILL)
    eventually(lambda: is_free(port))
    with socket.create_server(("127.0.0.1", port)):
        running = town.up(report=tell, directory=small_town.directory, chart=SMALL_CHART, options=FAST)
        status = town.status(directory=small_town.directory)
        assert status.is_up
        assert running.server != f"https://127.0.0.1:{port}"
        told = {line for _, state in containers(small_town.directory.node) for line in environment_of(state.init.process_id)}
        assert f"KUBERNETES_SERVICE_PORT={port}" not in told
        assert f"KUBERNETES_SERVICE_PORT={running.server.rpartition(':')[2]}" in told


def environment_of(process_id: int) -> list[str]:
    return Path(f"/proc/{process_id}/environ").read_text().split("\0")
