"""session_start_p50_s and dead_session_replaced_p99_s: how soon an agent works, and works again after its session died."""

from __future__ import annotations

import json
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from bench.rows import Row, median
from gastown.api.kinds import POD
from gastown.local.control_plane_commands import Options
from support.cluster import Cluster, town_in
from support.eventually import eventually
from support.example_convoy import ExampleTown, documents
from support.session_processes import harnesses_of, processes_of, send

NAMES = ("session_start_p50_s", "dead_session_replaced_p99_s")
STARTS, START_GOAL_SECONDS = 50, 1.0
DEATHS, REPLACED_GOAL_SECONDS = 102, 5.0
WAIT_SECONDS = 120
OPERATOR = "system:serviceaccount:gastown-system:operator"
# The first instruction of the agent: what time is it. It comes out of the pod as the reason for which the bead was closed.
STAMP = 'now=$(date +%s.%N); bd close "$GASTOWN_BEAD" --reason "$now" > /dev/null'
# Sessions of an agent are numbered through: the first on each bead waits to be killed, the second tells when it began.
MORTAL = f"if [ $((GASTOWN_SESSION % 2)) = 1 ]; then exec sleep 86399; fi; {STAMP}"
Step = tuple[str, str, str, str, str]
STEPS: tuple[Step, ...] = (
    ("pod created", OPERATOR, "create", "pods", ""),
    ("pod given to the node", "system:kube-scheduler", "create", "pods", "binding"),
    ("checkout runs", "system:node:", "patch", "pods", "status"),
)
STEPS_OF_A_DEATH: tuple[Step, ...] = (
    ("the node tells", "system:node:", "patch", "pods", "status"),
    ("the bead records it", OPERATOR, "patch", "beads", "status"),
    *STEPS[:2],
)


class Span(NamedTuple):
    """From what is measured to the first instruction of the agent, in Unix seconds."""

    what: str
    begun: float
    ended: float

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.ended - self.begun


def run() -> list[Row]:
    """Both figures in one town whose agents do nothing but tell the time."""
    options = Options(durable=False, audit=True)
    with tempfile.TemporaryDirectory(prefix="gastown-bench-") as folder, town_in(Path(folder) / "town", options=options) as cluster:
        town = ExampleTown(cluster)
        prepare(town, "starting", "st", STAMP)
        prepare(town, "dying", "dy", MORTAL)
        load = os.getloadavg()[0]
        told = {name: start(town, name) for name in (f"st-{number}" for number in range(STARTS))}
        deaths = [death(town, f"dy-{number}", WAYS[number % len(WAYS)]) for number in range(DEATHS)]
        events = [event for event in map(json.loads, cluster.audit_log.read_text().splitlines()) if is_success(event)]
    starts = [Span(name, bound_at(events, name), ended) for name, ended in told.items()]
    return [start_row(starts, medians(events, STEPS, starts), load), death_row(deaths, medians(events, STEPS_OF_A_DEATH, deaths), load)]


def start_row(starts: list[Span], steps: dict[str, float], load: float) -> Row:
    """How long after the binding the agent's first instruction came."""
    seconds = [span.seconds for span in starts]
    return Row(
        name="session_start_p50_s",
        value=median(seconds),
        unit="s",
        goal=f"< {START_GOAL_SECONDS:g}",
        ok=median(seconds) < START_GOAL_SECONDS,
        reference=f"binding to pod created {steps['pod created']:.3f} s",
        ratio=median(seconds) / steps["pod created"],
        how=f"{len(seconds)} sessions one after another, from the binding in the audit log to the agent's first instruction; "
        f"load {load:.1f}",
        details={"p50 since the binding": steps, "p99": round(percentile(seconds, 99), 3)},
    )


def death_row(deaths: list[Span], steps: dict[str, float], load: float) -> Row:
    """How long after a session's death its successor's first instruction came."""
    seconds = [span.seconds for span in deaths]
    by_way = {way.__name__: [span.seconds for span in deaths if span.what == way.__name__] for way in WAYS}
    worst = percentile(seconds, 99)
    return Row(
        name="dead_session_replaced_p99_s",
        value=worst,
        unit="s",
        goal=f"< {REPLACED_GOAL_SECONDS:g}",
        ok=worst < REPLACED_GOAL_SECONDS,
        reference=f"p50 {median(seconds):.2f} s",
        ratio=worst / median(seconds),
        how=f"{len(deaths)} sessions killed one after another in {len(WAYS)} ways, from the kill to the successor's first instruction; "
        f"load {load:.1f}",
        details={
            "p50 since the death": steps,
            "p50 and worst by way": {name: [round(median(found), 2), round(max(found), 2)] for name, found in by_way.items()},
        },
    )


def prepare(town: ExampleTown, rig_name: str, prefix: str, script: str) -> None:
    """A rig with one polecat that runs a script."""
    town.make_upstream(rig_name)
    rig, profile, _ = documents(rig_name, prefix, "unused")
    profile["metadata"]["name"] = rig["spec"]["profileName"] = rig_name
    rig["spec"]["maxPolecats"] = 1
    profile["spec"]["command"] = ["sh", "-c", script]
    town.apply([rig, profile])
    town.cluster.kubectl("wait", "--for=condition=Ready", f"rig/{rig_name}", f"--timeout={WAIT_SECONDS}s", timeout_seconds=WAIT_SECONDS + 9)


def make_bead(town: ExampleTown, name: str) -> None:
    """A bead that leaves no commit behind."""
    spec = {"title": "Tell the time", "delivery": "None"}
    town.apply([{"apiVersion": "gastown.dev/v1alpha1", "kind": "Bead", "metadata": {"name": name}, "spec": spec}])


def start(town: ExampleTown, name: str) -> float:
    """Let an idle agent work on a new bead; returns the Unix time of its first instruction."""
    make_bead(town, name)
    return told_by(town, name)


def told_by(town: ExampleTown, name: str) -> float:
    """What the agent of a bead told; returns when its pod is gone, so that the next one starts from rest."""
    town.cluster.kubectl(
        "wait", "--for=jsonpath={.status.phase}=Closed", f"bead/{name}", f"--timeout={WAIT_SECONDS}s", timeout_seconds=WAIT_SECONDS + 9
    )
    told = float(town.cluster.get("bead", name, "town")["spec"]["closeReason"])
    eventually(lambda: not town.items("pods", f"gastown.dev/bead={name}"), WAIT_SECONDS, "its pod is gone")
    return told


def everything_killed(cluster: Cluster, pod: dict[str, Any]) -> None:
    """Every process of the session at once."""
    del cluster
    send(list(processes_of(pod["metadata"]["uid"])), signal.SIGKILL)


def harness_killed(cluster: Cluster, pod: dict[str, Any]) -> None:
    """The harness alone; PID 1 speaks for it."""
    del cluster
    send(harnesses_of(pod["metadata"]["uid"])[1:], signal.SIGKILL)


def pod_deleted(cluster: Cluster, pod: dict[str, Any]) -> None:
    """As a person or a drained node does it: the session keeps its work and ends."""
    cluster.client().delete(POD, "town", pod["metadata"]["name"])


WAYS: tuple[Callable[[Cluster, dict[str, Any]], None], ...] = (everything_killed, harness_killed, pod_deleted)


def death(town: ExampleTown, name: str, kill: Callable[[Cluster, dict[str, Any]], None]) -> Span:
    """Kill the first session on a new bead; returns how, and from when to the second one's first instruction."""
    make_bead(town, name)

    def working() -> dict[str, Any] | None:
        pods = town.items("pods", f"gastown.dev/bead={name}")
        return pods[0] if pods and "sleep 86399" in processes_of(pods[0]["metadata"]["uid"]).values() else None

    pod = eventually(working, WAIT_SECONDS, f"the first session on {name} works")
    assert pod is not None
    killed = time.time()
    kill(town.cluster, pod)
    return Span(kill.__name__, killed, told_by(town, name))


def bound_at(events: list[dict[str, Any]], name: str) -> float:
    """When the API server got the binding of a bead."""
    return next(received(event) for event in events if is_of(event, OPERATOR, "patch", "beads", "") and target(event) == name)


def medians(events: list[dict[str, Any]], steps: tuple[Step, ...], spans: list[Span]) -> dict[str, float]:
    """Median seconds from the beginning of the spans to the first request of each step in them; the spans do not overlap."""
    found = {"agent runs": round(median([span.seconds for span in spans]), 3)}
    for step, *kind in steps:
        times = [received(event) for event in events if is_of(event, *kind)]
        first = [min((at for at in times if span.begun < at < span.ended), default=None) for span in spans]
        known = [at - span.begun for at, span in zip(first, spans, strict=True) if at is not None]
        if known:
            found[step] = round(median(known), 3)
    return dict(sorted(found.items(), key=lambda item: item[1]))


def is_success(event: dict[str, Any]) -> bool:
    """Whether a request was carried out in the town."""
    code: int = event.get("responseStatus", {}).get("code", 500)
    return code < 300 and event.get("objectRef", {}).get("namespace", "") == "town"


def is_of(event: dict[str, Any], user: str, verb: str, resource: str, part: str) -> bool:
    """Whether it is that kind of request by that user."""
    where, by = event["objectRef"], str(event["user"]["username"])
    return (event["verb"], where["resource"], where.get("subresource", "")) == (verb, resource, part) and by.startswith(user)


def target(event: dict[str, Any]) -> str:
    """Name of the object."""
    return str(event["objectRef"].get("name", ""))


def received(event: dict[str, Any]) -> float:
    """When the API server got the request, Unix seconds."""
    return datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp()


def percentile(values: list[float], percent: int) -> float:
    """The value that so many percent do not exceed."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
