"""Convoys, rigs and beads that are too large, too many or nobody's, against a live operator: told, and the others go on."""

from __future__ import annotations

import asyncio
import json
import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from gastown.api import kinds
from gastown.api.names import convoy_bead_name
from gastown.decide import convoy as convoys
from gastown.kube.errors import ApiError, Invalid
from support.cluster import Cluster
from support.eventually import eventually
from support.operator_run import OperatorRun, running_operator
from support.played_town import PlayedTown
from support.players import Json

pytestmark = pytest.mark.cluster


@pytest.fixture
def played(api_server: Cluster, namespace: str) -> PlayedTown:
    return PlayedTown(api_server, namespace)


@contextmanager
def operator(played: PlayedTown) -> Iterator[OperatorRun]:
    with running_operator(played.cluster.configuration(), played.namespace) as run:
        yield run
        assert run.live().manager.why_dead() == ""
    assert run.failure is None


def ready(played: PlayedTown, name: str) -> Json:
    return played.condition(name, "Ready", kinds.CONVOY)


def templates(number: int, **more: Any) -> list[Json]:
    return [{"name": f"t{at}", "title": f"Do {at}", **more} for at in range(number)]


# Too many


def test_one_member_or_template_too_many_is_refused_by_field(played: PlayedTown) -> None:
    with pytest.raises(Invalid, match=r"spec\.beads: Too many: 5001: must have at most 5000 items"):
        played.convoy("cv", {"beads": [f"gp-{number}" for number in range(5001)]})
    with pytest.raises(Invalid, match=r"spec\.templates: Too many: 201: must have at most 200 items"):
        played.convoy("cv", {"templates": templates(201)})


def test_two_hundred_templates_applied_again_and_again_make_two_hundred_beads(played: PlayedTown) -> None:
    played.found()
    wanted = {"paused": True, "defaults": {"rigName": "greeter"}, "templates": templates(200)}
    body: Json = {"apiVersion": kinds.CONVOY.api_version, "kind": "Convoy", "metadata": {"name": "many", "namespace": played.namespace}}
    with operator(played):
        played.cluster.apply({**body, "spec": wanted})
        eventually(lambda: ready(played, "many").get("status") == "True", 120, "the convoy is complete")
        changed = [{**template, "title": "Else"} for template in wanted["templates"][::-1]]  # type: ignore[index]
        for again in ({**wanted, "templates": changed[:100]}, wanted):
            played.cluster.apply({**body, "spec": again})
            generation = played.get(kinds.CONVOY, "many")["metadata"]["generation"]
            eventually(lambda: played.get(kinds.CONVOY, "many")["status"]["observedGeneration"] == generation, 60, "it was looked at again")  # noqa: B023
        counts = played.get(kinds.CONVOY, "many")["status"]["counts"]
    beads = played.all(kinds.BEAD)
    assert len(beads) == 200
    assert counts["total"] == 200
    assert {bead["spec"]["title"] for bead in beads} == {f"Do {at}" for at in range(200)}, "a bead that exists is not written over"


# Nobody's


def test_what_names_a_rig_or_prefix_that_is_not_there_is_told_and_waits_for_it(played: PlayedTown) -> None:
    played.found()
    with operator(played), played.playing():
        played.bead("zz-1")
        played.bead("gp-2", rigName="nowhere")
        played.convoy("cv", {"templates": templates(1, rigName="nowhere")})
        played.bead("gp-3")
        eventually(lambda: played.phase("gp-3") == "Landed", 60, "the others go on")
        for name, reason, words in (("zz-1", "UnknownPrefix", "no Rig has the prefix zz"), ("gp-2", "NoRig", "Rig nowhere does not exist")):
            eventually(lambda: played.phase(name) == "Blocked", 30)  # noqa: B023
            told = played.condition(name, "Startable")
            assert (told["reason"], words in told["message"]) == (reason, True)
        eventually(lambda: ready(played, "cv").get("reason") == "NoRig", 30)
        assert "Rig nowhere does not exist; create it" in ready(played, "cv")["message"]
        rig = played.get(kinds.RIG, "greeter")["spec"]
        played.players.create(kinds.RIG, "nowhere", {**rig, "prefix": "zz"})
        played.apply_status(kinds.RIG, "nowhere", {"conditions": [played.players.condition("RepositoryReady")]})
        eventually(lambda: played.phase("zz-1") == "Landed", 60, "the bead whose prefix came")
        eventually(lambda: played.phase("gp-2") == "Landed", 60, "the bead whose rig came")


def test_the_second_rig_of_a_prefix_takes_nothing_from_the_first(played: PlayedTown) -> None:
    played.found()
    with operator(played), played.playing():
        eventually(lambda: played.phase("greeter", kinds.RIG) == "Ready", 30)
        played.players.create(kinds.RIG, "thief", {**played.get(kinds.RIG, "greeter")["spec"]})
        eventually(lambda: played.condition("thief", "Stalled", kinds.RIG).get("reason") == "PrefixTaken", 30)
        assert "belongs to Rig greeter, which is older" in played.condition("thief", "Ready", kinds.RIG)["message"]
        played.bead("gp-1")
        eventually(lambda: played.phase("gp-1") == "Landed", 60)
    assert played.get(kinds.BEAD, "gp-1")["status"]["agentName"].startswith("greeter-")


def test_a_bead_under_the_name_of_a_template_is_told_and_the_convoy_goes_on_when_it_is_gone(
    played: PlayedTown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convoys, "LOOK_AGAIN_SECONDS", 1.0)
    played.found()
    played.convoy("cv", {"templates": templates(2, rigName="greeter")})
    taken = convoy_bead_name("gp", played.get(kinds.CONVOY, "cv")["metadata"]["uid"], "t0")
    played.bead(taken, delivery="None", state="closed", createdBy="greeter-nux")
    with operator(played), played.playing():
        eventually(lambda: ready(played, "cv").get("reason") == "NameTaken", 30)
        assert f"bead {taken} was made by greeter-nux already; delete it" in ready(played, "cv")["message"]
        assert len(played.all(kinds.BEAD)) == 1
        played.client.delete(kinds.BEAD, played.namespace, taken)
        eventually(lambda: played.phase("cv", kinds.CONVOY) == "Landed", 60, "the convoy landed")


# Too large


def test_a_bead_so_large_that_its_status_has_no_room_holds_up_nobody(played: PlayedTown) -> None:
    played.found()
    large = fill(played, "gp-large")
    with operator(played) as run, played.playing():
        eventually(lambda: _failures(run, "bead") > 0, 60, "its status can not be written")
        eventually(lambda: "make it smaller" in _events(played, "gp-large"), 30, "its owner is told")
        played.bead("gp-1")
        eventually(lambda: played.phase("gp-1") == "Landed", 60, "the others go on")
        failures = _failures(run, "bead")
        played.patch(kinds.BEAD, "gp-large", {"spec": {"comments": None}})
        eventually(lambda: played.phase("gp-large") == "Landed", 90, "it goes on when it is smaller")
    print(f"\n{large} bytes; {failures:.0f} decisions failed before")


def _events(played: PlayedTown, name: str) -> str:
    """What was told of an object by Events."""
    return played.cluster.kubectl("get", "events", "-n", played.namespace, "--field-selector", f"involvedObject.name={name}").stdout


def fill(played: PlayedTown, name: str) -> int:
    """A bead that is as large as the server takes; its size as JSON."""
    comments = [{"text": "x" * 16_000} for _ in range(90)]
    played.bead(name, comments=comments)
    step = 16_000
    while step > 100:
        try:
            played.patch(kinds.BEAD, name, {"spec": {"comments": [*comments, {"text": "z" * step}]}})
            comments.append({"text": "z" * step})
        except ApiError:
            step //= 2
    return len(json.dumps(played.get(kinds.BEAD, name)))


def _failures(run: OperatorRun, controller: str) -> float:
    lines = run.live().metrics.text().splitlines()
    bad = [line for line in lines if "decisions_total{" in line and f'controller="{controller}"' in line]
    return sum(float(line.rsplit(" ", 1)[1]) for line in bad if 'result="unavailable"' in line or 'result="refused"' in line)


# Thousands


class Lag:
    """How late the operator's event loop is, looked at all the time."""

    def __init__(self, run: OperatorRun) -> None:
        self.late: list[float] = []
        loop = run.live().controllers[0]._loop
        asyncio.run_coroutine_threadsafe(self._watch(), loop)

    async def _watch(self) -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.05)
            self.late.append(time.monotonic() - before - 0.05)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("shape", ["flat", "chain", "dense"])
def test_a_convoy_of_five_thousand(played: PlayedTown, shape: str) -> None:
    played.found(max_polecats=0)
    number = 5000
    edges: dict[str, Callable[[int], list[int]]] = {
        "flat": lambda _: [],
        "chain": lambda at: [at - 1] if at else [],
        "dense": lambda at: list(range(max(0, at - 100), at)),
    }

    def make(first: int) -> None:
        town = PlayedTown(played.cluster, played.namespace)
        for at in range(first, number, 4):
            town.bead(f"gp-{at}", dependencies=[{"id": f"gp-{other}", "type": "blocks"} for other in edges[shape](at)])

    threads = [threading.Thread(target=make, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with operator(played) as run:
        lag = Lag(run)
        begun, cpu = time.monotonic(), time.process_time()
        played.convoy("cv", {"beads": [f"gp-{at}" for at in range(number)]})
        eventually(lambda: played.get(kinds.CONVOY, "cv").get("status", {}).get("counts", {}).get("total") == number, 1200)
        free = sum(not edges[shape](at) for at in range(number))
        eventually(lambda: played.get(kinds.CONVOY, "cv")["status"]["counts"].get("ready", 0) == free, 2400, "all were looked at")
        eventually(lambda: all(controller.is_idle() for controller in run.live().controllers), 600)
        status = played.get(kinds.CONVOY, "cv")["status"]
        seconds, cpu = time.monotonic() - begun, time.process_time() - cpu
    late = sorted(lag.late)
    p50, p99, worst = (1000 * late[int(part * (len(late) - 1))] for part in (0.5, 0.99, 1.0))
    print(
        f"\n{shape}: {number} members, all looked at after {seconds:.0f} s ({cpu:.0f} s CPU of operator and test), "
        f"{sum(run.writes.values())} writes, status {len(json.dumps(status))} bytes, loop late p50 {p50:.0f} p99 {p99:.0f} "
        f"worst {worst:.0f} ms, peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB"
    )
    assert len(json.dumps(status)) < 20_000
