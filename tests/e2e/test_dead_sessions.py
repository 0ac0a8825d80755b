"""Sessions that are killed or fall silent on the process node: another one goes on where they were."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gastown.api import labels
from gastown.local.control_plane_commands import Options
from support.cluster import Cluster, town_in
from support.eventually import eventually
from support.example_convoy import ExampleTown, documents
from support.session_processes import harnesses_of, processes_of, send

WAIT_SECONDS = 180
# The first session leaves a file uncommitted and waits to be killed; whoever finds the file finishes the work.
HALF = 'if [ -e half.txt ]; then git add half.txt && git commit -qm "Finish"; else echo "$GASTOWN_POD_UID" > half.txt; exec sleep 86399; fi'


def start_half(town: ExampleTown, rig_name: str, prefix: str) -> dict[str, Any]:
    """Let a session do half of its work and keep it; returns its pod."""
    town.make_upstream(rig_name)
    rig, profile, _ = documents(rig_name, prefix, "unused")
    profile["metadata"]["name"] = rig["spec"]["profileName"] = rig_name
    profile["spec"] |= {"command": ["sh", "-c", HALF], "checkpointSeconds": 1}
    bead = {"title": "Write a file", "rigName": rig_name}
    town.apply([rig, profile, {"apiVersion": "gastown.dev/v1alpha1", "kind": "Bead", "metadata": {"name": f"{prefix}-1"}, "spec": bead}])

    def kept() -> dict[str, Any] | None:
        """The pod, once its heartbeat told a checkpoint."""
        pods = town.items("pods", f"gastown.dev/bead={prefix}-1,gastown.dev/session=1")
        leases = {item["metadata"]["name"]: item["metadata"].get("annotations", {}) for item in town.items("leases")}
        return pods[0] if pods and leases.get(pods[0]["metadata"]["name"], {}).get(labels.CHECKPOINT) else None

    pod = eventually(kept, WAIT_SECONDS, "half of the work is kept")
    assert pod is not None
    return pod


def finished_by_another(town: ExampleTown, rig_name: str, prefix: str, first: dict[str, Any]) -> None:
    """The bead lands with what the first session wrote, handed in by a later one."""
    town.wait_landed(f"bead/{prefix}-1", WAIT_SECONDS)
    command = ["git", "-C", str(town.upstream(rig_name)), "show", "main:half.txt"]
    written = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout.strip()
    assert written == first["metadata"]["uid"]
    agent = town.cluster.get("agent", first["metadata"]["name"], "town")
    assert agent["status"]["session"]["number"] == 2
    assert processes_of(first["metadata"]["uid"]) == {}


@pytest.mark.parametrize("which", ["all of it", "the harness alone"])
def test_a_session_that_is_killed_is_replaced_and_its_uncommitted_work_lands(town_cluster: Cluster, which: str) -> None:
    town, prefix = ExampleTown(town_cluster), "ka" if which == "all of it" else "kh"
    first = start_half(town, f"killed-{prefix}", prefix)
    uid = first["metadata"]["uid"]
    send(list(processes_of(uid)) if which == "all of it" else harnesses_of(uid)[1:], signal.SIGKILL)
    finished_by_another(town, f"killed-{prefix}", prefix, first)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_session_whose_harness_is_stopped_is_nudged_and_replaced_and_its_uncommitted_work_lands(tmp_path: Path) -> None:
    with town_in(tmp_path / "town", options=Options(durable=False)) as cluster:
        impatient = ["GASTOWN_SILENT_SECONDS=15", "GASTOWN_ANSWER_SECONDS=5"]
        cluster.kubectl("set", "env", "deployment/operator", "-n", "gastown-system", *impatient)
        cluster.kubectl("rollout", "status", "deployment/operator", "-n", "gastown-system", "--timeout=120s", timeout_seconds=150)
        town = ExampleTown(cluster)
        first = start_half(town, "stopped", "sp")
        send(harnesses_of(first["metadata"]["uid"])[1:], signal.SIGSTOP)
        finished_by_another(town, "stopped", "sp", first)
        told = {item["reason"] for item in town.items("events") if item["involvedObject"]["kind"] == "Agent"}
        assert {"HeartbeatMissed", "Replaced"} <= told
