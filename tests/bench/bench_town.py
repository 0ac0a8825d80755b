"""demo_seconds and writes_per_bead: what a user waits for, and what a bead costs the API server."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from bench.rows import Row, median
from gastown.local import town
from gastown.local.control_plane_commands import Options
from support.cluster import ROOT, town_in
from support.eventually import eventually
from support.example_convoy import DIAMOND, ExampleTown, documents

NAMES = ("demo_seconds", "writes_per_bead")
DEMO_RUNS = 3
DEMO_GOAL_SECONDS = 60
WRITES_GOAL = 20
WRITE_VERBS = frozenset({"create", "update", "patch", "delete"})
# Not writes of objects, or not counted by the goal: heartbeats, reviews, tokens, Events; roll-ups are dropped below.
NOT_COUNTED = frozenset({"leases", "tokenreviews", "subjectaccessreviews", "selfsubjectaccessreviews", "events"})
KUBERNETES = ("system:serviceaccount:kube-system:", "system:node:", "system:kube-")
ROLL_UPS = frozenset({("towns", "status"), ("rigs", "status"), ("convoys", "status"), ("agentprofiles", "status")})
# Made once per polecat or per convoy, before a bead is Ready.
NOT_PER_BEAD = frozenset({("serviceaccounts", ""), ("agents", ""), ("beads", "", "create")})


def run() -> list[Row]:
    """Both figures; each run has a town of its own in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="gastown-bench-") as folder:
        ups, demos = zip(*(_demo_run(Path(folder) / f"demo-{number}") for number in range(DEMO_RUNS)), strict=True)
        ours, kubernetes = _writes(Path(folder) / "writes")
    per_bead = sum(ours.values()) / len(DIAMOND)
    reference = sum(kubernetes.values()) / len(DIAMOND)
    return [
        Row(
            name="demo_seconds",
            value=median(demos),
            unit="s",
            goal=f"< {DEMO_GOAL_SECONDS}",
            ok=median(demos) < DEMO_GOAL_SECONDS,
            reference=f"gt up alone {median(ups):.1f} s",
            ratio=median(demos) / median(ups),
            how=f"median of {DEMO_RUNS} warm `make demo`, command to Landed, each in a new town",
        ),
        Row(
            name="writes_per_bead",
            value=per_bead,
            unit="writes",
            goal=f"<= {WRITES_GOAL}",
            ok=per_bead <= WRITES_GOAL,
            reference=f"Kubernetes' own controllers and node {reference:.1f}",
            ratio=per_bead / reference,
            how=f"audit log of the {len(DIAMOND)} beads of the example convoy that are not reworked, from Ready on, by user; "
            "aside: Leases, Events, reviews, roll-ups, and what is made once per polecat or convoy",
            details={"by user, verb and kind, per convoy": {" ".join(key): count for key, count in sorted(ours.items())}},
        ),
    ]


def _demo_run(state: Path) -> tuple[float, float]:
    """Seconds of a bare `gt up` and of `make demo`, each from nothing running and no data."""
    return _timed(state / "up", ["gt", "up"]), _timed(state / "demo", ["make", "--no-print-directory", "demo"])


def _timed(state: Path, command: list[str]) -> float:
    environment = os.environ | {"XDG_STATE_HOME": str(state)}
    started = time.monotonic()
    try:
        subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL, timeout=600)
        return time.monotonic() - started
    finally:
        subprocess.run(["gt", "down"], cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL, timeout=120)


def _writes(root: Path) -> tuple[Counter[tuple[str, ...]], Counter[tuple[str, ...]]]:
    """Land the diamond of the example convoy under audit; returns our writes and Kubernetes' own, by user, verb and kind.

    Without the two beads that come back: what rework costs is a session and a gate run more, and nothing of the ordinary way.
    """
    with town_in(root, options=Options(durable=False, audit=True)) as cluster:
        example = ExampleTown(cluster)
        example.make_upstream("counted")
        example.apply(documents("counted", "ct", "counted", only=DIAMOND))
        example.wait_landed("convoy/counted")
        eventually(lambda: all(item["status"]["phase"] == "Idle" for item in example.items("agents")), 60, "agents are idle")
        return _counted(cluster.audit_log)


def _counted(log: Path) -> tuple[Counter[tuple[str, ...]], Counter[tuple[str, ...]]]:
    """Writes that succeeded, without those on a bead before it became Ready: waiting is not its way."""
    ours: Counter[tuple[str, ...]] = Counter()
    kubernetes: Counter[tuple[str, ...]] = Counter()
    are_ready: set[str] = set()
    for event in sorted(map(json.loads, log.read_text().splitlines()), key=_received):
        target = event.get("objectRef", {})
        kind, part = target.get("resource", ""), target.get("subresource", "")
        user = event["user"]["username"]
        is_written = event["verb"] in WRITE_VERBS and event.get("responseStatus", {}).get("code", 500) < 300
        if not is_written or kind in NOT_COUNTED or (kind, part) in ROLL_UPS or target.get("namespace") != town.TOWN_NAMESPACE:
            continue
        if kind == "beads" and event.get("requestObject", {}).get("status", {}).get("phase") == "Ready":
            are_ready.add(target["name"])
        if kind == "beads" and target.get("name") not in are_ready:
            continue
        told = f"{kind}/{part}".rstrip("/")
        if user.startswith(("system:serviceaccount:gastown-system:", f"system:serviceaccount:{town.TOWN_NAMESPACE}:")):
            if (kind, part) in NOT_PER_BEAD or (kind, part, event["verb"]) in NOT_PER_BEAD:
                continue
            name = "session" if f":{town.TOWN_NAMESPACE}:" in user else user.rpartition(":")[2]
            ours[(name, event["verb"], told)] += 1
        elif user.startswith(KUBERNETES) and kind in ("pods", "jobs"):
            kubernetes[(user, event["verb"], told)] += 1
    return ours, kubernetes


def _received(event: dict[str, Any]) -> str:
    received: str = event["requestReceivedTimestamp"]
    return received
