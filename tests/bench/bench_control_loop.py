"""dispatch_ratio and convoy_landed_p99_s: how fast the control loop is, beside the API server that it speaks to.

The operator is the real process with its real token and rights. There is no process node: what nodes, sessions and the refinery do is
written by `support.players`, so only the operator and the API server are measured.
"""

from __future__ import annotations

import json
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.rows import Row, median
from gastown.api import kinds, labels
from gastown.api.codec import to_dict
from gastown.api.kinds import Kind
from gastown.local import town
from gastown.local.control_plane_commands import Options
from support.cluster import Cluster, running
from support.eventually import eventually
from support.first_seen import FirstSeen, Question
from support.installed_chart import Installation
from support.operator_process import OperatorProcess, operator_process
from support.played_town import PlayedTown
from support.players import GATES

NAMES = ("dispatch_ratio", "convoy_landed_p99_s")
BEADS = 200
# Each takes a second or two, in which other work on the machine may have either half of the ratio.
DISPATCHES = 3
DISPATCH_GOAL = 0.5
CONVOYS = 100
AGENTS = 20
# Between two landings: faster than any refinery, whose gates take their time.
LANDING_SECONDS = 0.1
LANDED_GOAL_SECONDS = 1.0
WAIT_SECONDS = 300
NAMESPACE = town.TOWN_NAMESPACE
# Whose pods the chart's policies take for those of Jobs; its own role has no pods, for each of its controllers has an identity.
JOB_CONTROLLER = "kube-controller-manager"
OPERATOR = "system:serviceaccount:gastown-system:operator"


def run() -> list[Row]:
    """Both figures, each in a control plane of its own."""
    with tempfile.TemporaryDirectory(prefix="gastown-bench-") as folder:
        dispatches = [_dispatch(Path(folder) / f"dispatch-{number}") for number in range(DISPATCHES)]
        return [_dispatch_row(dispatches), _landing(Path(folder) / "landing")]


@contextmanager
def _town(folder: Path, agents: int) -> Iterator[tuple[Cluster, PlayedTown, OperatorProcess]]:
    """A control plane with the chart's rights and policies, an operator, and a rig with room for everything."""
    with running(folder / "town", Options(durable=False, controllers=False, audit=True)) as cluster:
        installation = Installation(cluster)
        installation.run("install", f"towns[0].name={NAMESPACE}")
        installation.wait_for_stamps()
        cluster.make_namespace(NAMESPACE)
        played = PlayedTown(cluster, NAMESPACE)
        played.job_controller = JOB_CONTROLLER
        role = ("--clusterrole=system:controller:job-controller", f"--user=system:{JOB_CONTROLLER}")
        cluster.kubectl("create", "clusterrolebinding", "played-job-controller", *role)
        played.patch(kinds.TOWN, "town", {"spec": {"capacity": {"maxPolecats": agents, "maxGateRuns": agents}}})
        played.players.create(kinds.AGENT_PROFILE, "apprentice", {"adapter": "shell", "command": ["./work"]})
        with operator_process(cluster, folder / "operator") as process:
            spec = {"prefix": "gp", "profileName": "apprentice", "maxPolecats": agents, "suspend": True, "gates": to_dict(GATES)}
            played.players.create(kinds.RIG, "greeter", spec)
            played.apply_status(kinds.RIG, "greeter", {"conditions": [played.players.condition("RepositoryReady")]})
            eventually(lambda: played.condition("greeter", "Ready", kinds.RIG).get("status") == "True", WAIT_SECONDS, "the rig is Ready")
            yield cluster, played, process


def _dispatch(folder: Path) -> tuple[float, float]:
    """Bind 200 ready beads to 200 idle agents, then patch the same beads one by one over one connection; both rates, per second."""
    with _town(folder, BEADS) as (cluster, played, process):
        for number in range(BEADS):
            played.players.create(kinds.AGENT, f"greeter-a{number}", {"role": "polecat", "rigName": "greeter"})
            played.bead(f"gp-{number}")
        _wait(played, kinds.AGENT, "Idle", BEADS)
        _wait(played, kinds.BEAD, "Ready", BEADS)
        played.patch(kinds.RIG, "greeter", {"spec": {"suspend": False}})
        eventually(lambda: all(bead["spec"].get("assignee") for bead in played.all(kinds.BEAD)), WAIT_SECONDS, "all are bound")
        bindings = _bindings(cluster.audit_log)
        assert len(bindings) == BEADS, f"{len(bindings)} bindings for {BEADS} beads"
        process.process.send_signal(signal.SIGSTOP)  # what follows is not for it to see
        try:
            raw = _raw_rate(played)
        finally:
            process.process.send_signal(signal.SIGCONT)
    return (BEADS - 1) / (bindings[-1] - bindings[0]), raw


def _dispatch_row(rates: list[tuple[float, float]]) -> Row:
    ratio = median([bound / raw for bound, raw in rates])
    return Row(
        name="dispatch_ratio",
        value=ratio,
        unit="of the raw rate",
        goal=f">= {DISPATCH_GOAL}",
        ok=ratio >= DISPATCH_GOAL,
        reference=f"conditional PATCHes over one connection {median([raw for _, raw in rates]):.0f}/s",
        ratio=ratio,
        how=f"median of {len(rates)}: {BEADS} ready beads bound to {BEADS} idle agents, first to last in the audit log, without a node; "
        "then as many conditional merge patches, one after the other, under the same policies",
        details={"bound and patched per second": [(round(bound), round(raw)) for bound, raw in rates]},
    )


def _raw_rate(played: PlayedTown) -> float:
    beads = _at_rest(played)
    started = time.monotonic()
    for bead in beads:
        version = bead["metadata"]["resourceVersion"]
        played.patch(kinds.BEAD, bead["metadata"]["name"], {"metadata": {"resourceVersion": version}, "spec": {"assignee": "somebody"}})
    return len(beads) / (time.monotonic() - started)


def _at_rest(played: PlayedTown) -> list[dict[str, Any]]:
    """The beads, once nothing changes them any more: writes that were under way when the operator stopped are still carried out."""
    looks: list[list[dict[str, Any]]] = [[]]

    def is_still() -> bool:
        looks.append(played.all(kinds.BEAD))
        return looks[-2] == looks[-1]

    eventually(is_still, WAIT_SECONDS, "nothing changes the beads")
    return looks[-1]


def _bindings(log: Path) -> list[float]:
    """When the operator's patches of beads were answered, unix seconds; it patches a bead's spec for a binding alone here."""
    times = []
    for line in log.read_text().splitlines():
        event = json.loads(line)
        target = event.get("objectRef", {})
        is_ours = event["user"]["username"] == OPERATOR and event["verb"] == "patch"
        if is_ours and target.get("resource") == "beads" and not target.get("subresource") and event["responseStatus"]["code"] == 200:
            times.append(_seconds(event["stageTimestamp"]))
    return sorted(times)


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _wait(played: PlayedTown, kind: Kind, phase: str, count: int) -> None:
    def reached() -> bool:
        return len([item for item in played.all(kind) if item.get("status", {}).get("phase") == phase]) >= count

    eventually(reached, WAIT_SECONDS, f"{count} {kind.plural} are {phase}")


def _landing(folder: Path) -> Row:
    """100 convoys of two beads; from the refinery's word that the last bead landed to the convoy's condition, as a watcher sees them."""
    with _town(folder, AGENTS) as (cluster, played, process):
        for number in range(CONVOYS):
            templates: list[dict[str, Any]] = [{"name": "first", "title": "Do the first"}, {"name": "second", "title": "Do the second"}]
            played.convoy(f"convoy-{number}", {"defaults": {"rigName": "greeter"}, "templates": templates})
        played.players.may_land = lambda _: False
        played.patch(kinds.RIG, "greeter", {"spec": {"suspend": False}})
        with played.playing():
            eventually(lambda: _are_green(played), WAIT_SECONDS, "every merge request may land")
            eventually(played.is_at_rest, WAIT_SECONDS, "the sessions are over")
        played.players.may_land = lambda _: True
        seen = FirstSeen(cluster, NAMESPACE, (Question(kinds.MERGE_REQUEST, _is_landed), Question(kinds.CONVOY, _has_landed)))
        with seen.watching():
            for request in played.all(kinds.MERGE_REQUEST):
                played.players.refine(request)
                time.sleep(LANDING_SECONDS)
            _wait(played, kinds.CONVOY, "Landed", CONVOYS)
        delays = sorted(_delays(played, *seen.times))
        memory = process.resident_bytes() / 1e6
    p99 = delays[int(0.99 * len(delays)) - 1]
    return Row(
        name="convoy_landed_p99_s",
        value=p99,
        unit="s",
        goal=f"< {LANDED_GOAL_SECONDS:g}",
        ok=p99 < LANDED_GOAL_SECONDS,
        reference=f"median {delays[len(delays) // 2]:.3f} s",
        ratio=p99 / delays[len(delays) // 2],
        how=f"{CONVOYS} convoys of two beads, ten landings a second: from the MergeRequest of the last bead being Landed "
        f"to the convoy's Landed=True, as a watch shows them; operator memory {memory:.0f} MB",
        details={"slowest": delays[-1]},
    )


def _delays(played: PlayedTown, landings: Mapping[str, float], convoys: Mapping[str, float]) -> list[float]:
    """Of each convoy, seconds from the landing of its last member."""
    of_bead = {request["spec"]["beadName"]: landings[request["metadata"]["name"]] for request in played.all(kinds.MERGE_REQUEST)}
    members: dict[str, list[str]] = {}
    for bead in played.all(kinds.BEAD):
        members.setdefault(bead["metadata"]["labels"][labels.CONVOY], []).append(bead["metadata"]["name"])
    assert len(members) == CONVOYS
    return [convoys[name] - max(of_bead[bead] for bead in beads) for name, beads in members.items()]


def _are_green(played: PlayedTown) -> bool:
    green = [run for run in played.all(kinds.GATE_RUN) if _is_true(run, "Succeeded")]
    return len(green) == 2 * CONVOYS


def _is_landed(request: dict[str, Any]) -> bool:
    return bool(request.get("status", {}).get("phase") == "Landed")


def _has_landed(convoy: dict[str, Any]) -> bool:
    return _is_true(convoy, "Landed")


def _is_true(item: dict[str, Any], type_: str) -> bool:
    said = item.get("status", {}).get("conditions", [])
    return any(condition["type"] == type_ and condition["status"] == "True" for condition in said)
