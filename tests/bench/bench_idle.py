"""idle_requests_per_minute and idle_cpu_percent: what a town costs while nothing happens."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.rows import Row
from gastown.local import town
from gastown.local.control_plane_commands import Options
from support.cluster import Cluster, town_in
from support.eventually import eventually
from support.example_convoy import ExampleTown, documents
from support.operator_process import cpu_seconds

NAMES = ("idle_requests_per_minute", "idle_cpu_percent")
BEADS = 200
AGENTS = 20
REQUESTS_GOAL = 5
CPU_GOAL_PERCENT = 1
# Longer than the time between two resyncs, which are LISTs.
WINDOW_SECONDS = 660
QUIET_SECONDS = 10
WAIT_SECONDS = 300
OURS = ("system:serviceaccount:gastown-system:", f"system:serviceaccount:{town.TOWN_NAMESPACE}:")


def run() -> list[Row]:
    """Both figures from one town: real control plane, process node, operator and repo pod."""
    with (
        tempfile.TemporaryDirectory(prefix="gastown-bench-") as folder,
        town_in(Path(folder) / "town", options=Options(durable=False, audit=True)) as cluster,
    ):
        _furnish(cluster)
        _wait_until_quiet(cluster.audit_log)
        operator, reference = _pid(cluster, "gastown-operator"), cluster.pids()["kube-controller-manager"]
        size, started = cluster.audit_log.stat().st_size, time.monotonic()
        cpu, cpu_reference = cpu_seconds(operator), cpu_seconds(reference)
        time.sleep(WINDOW_SECONDS)  # what is measured is how little happens meanwhile
        seconds = time.monotonic() - started
        cpu, cpu_reference = cpu_seconds(operator) - cpu, cpu_seconds(reference) - cpu_reference
        ours, kubernetes = _requests(cluster.audit_log, size)
    return _rows(seconds, ours, kubernetes, cpu, cpu_reference)


def _rows(seconds: float, ours: Counter[str], kubernetes: Counter[str], cpu: float, cpu_reference: float) -> list[Row]:
    per_minute, reference = ours.total() * 60 / seconds, kubernetes.total() * 60 / seconds
    how = f"{seconds:.0f} s in a town with {BEADS} beads (half closed) and {AGENTS} idle agents"
    return [
        Row(
            name="idle_requests_per_minute",
            value=per_minute,
            unit="requests",
            goal=f"<= {REQUESTS_GOAL}",
            ok=per_minute <= REQUESTS_GOAL,
            reference=f"Kubernetes' own controllers and node {reference:.1f}",
            ratio=per_minute / reference if reference else None,
            how=f"{how}; audit log, all our ServiceAccounts, watches and Leases aside",
            details={"by user, verb and kind": dict(ours)},
        ),
        Row(
            name="idle_cpu_percent",
            value=100 * cpu / seconds,
            unit="% of a core",
            goal=f"< {CPU_GOAL_PERCENT}",
            ok=100 * cpu / seconds < CPU_GOAL_PERCENT,
            reference=f"kube-controller-manager {100 * cpu_reference / seconds:.2f} %",
            ratio=cpu / cpu_reference if cpu_reference else None,
            how=f"{how}; the operator's process",
        ),
    ]


def _furnish(cluster: Cluster) -> None:
    """A rig that is suspended, agents without work, and beads, half of them closed."""
    example = ExampleTown(cluster)
    example.make_upstream("idle")
    rig, profile, _ = documents("idle", "il", "unused")
    rig["spec"] |= {"suspend": True, "maxPolecats": AGENTS}
    agents = [_object("Agent", f"idle-a{number}", {"role": "polecat", "rigName": "idle"}) for number in range(AGENTS)]
    beads = [
        _object("Bead", f"il-{number}", {"title": f"Do {number}", "state": "closed" if number % 2 else "open"}) for number in range(BEADS)
    ]
    example.apply([rig, profile, *agents, *beads])
    eventually(lambda: _in_phase(example, "agents", "Idle") == AGENTS, WAIT_SECONDS, "the agents are idle")
    eventually(lambda: _in_phase(example, "beads", "Ready") == BEADS / 2, WAIT_SECONDS, "the open beads are ready")


def _object(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "gastown.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def _in_phase(example: ExampleTown, plural: str, phase: str) -> int:
    return len([item for item in example.items(plural) if item.get("status", {}).get("phase") == phase])


def _requests(log: Path, offset: int) -> tuple[Counter[str], Counter[str]]:
    """Ours and Kubernetes' own since an offset in the audit log, by user, verb and kind."""
    ours: Counter[str] = Counter()
    kubernetes: Counter[str] = Counter()
    for user, verb, kind in _events(log, offset):
        if user.startswith(OURS):
            ours[f"{user.rpartition(':')[2]} {verb} {kind}"] += 1
        elif user != "system:apiserver":
            kubernetes[f"{user} {verb} {kind}"] += 1
    return ours, kubernetes


def _events(log: Path, offset: int) -> Iterator[tuple[str, str, str]]:
    """User, verb and kind of each request; watches and Leases aside."""
    with log.open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            event = json.loads(line)
            kind = event.get("objectRef", {}).get("resource", "")
            if event["verb"] != "watch" and kind != "leases":
                yield event["user"]["username"], event["verb"], kind


def _wait_until_quiet(log: Path) -> None:
    """Wait until our ServiceAccounts have asked for nothing for a while."""
    seen, since = -1, time.monotonic()

    def is_quiet() -> bool:
        nonlocal seen, since
        count = sum(user.startswith(OURS) for user, _, _ in _events(log, 0))
        if count != seen:
            seen, since = count, time.monotonic()
        return time.monotonic() - since > QUIET_SECONDS

    eventually(is_quiet, WAIT_SECONDS, "the town is quiet")


def _pid(cluster: Cluster, program: str) -> int:
    """The process of this town, told apart from other towns of this machine by its API server's port."""
    port = f"KUBERNETES_SERVICE_PORT={urlsplit(cluster.server).port}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if any(Path(os.fsdecode(word)).name == program for word in words[:2]) and port in (folder / "environ").read_bytes().split(
                b"\0"
            ):
                return int(folder.name)
        except OSError:
            continue  # it ended, or is not ours
    raise AssertionError(f"{program} of this town does not run")
