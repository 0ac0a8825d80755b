"""Laws over the whole loop, whatever happens in whatever order: late watches, sessions that end any way they like, people, deaths."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gastown.api import kinds, labels
from gastown.api.convoy import Convoy
from gastown.decide import outcomes
from gastown.decide.bead import LOST_NODE_SECONDS
from gastown.decide.times import seconds_since
from support.players import OVER, Json
from support.simulated_town import SimulatedTown

BEADS = ["gp-1", "gp-2", "gp-3", "gp-4"]
MAX_POLECATS = 2


class Town(RuleBasedStateMachine):
    """A town in which anything may happen next."""

    def __init__(self) -> None:
        super().__init__()
        self.town = SimulatedTown()
        self.api = self.town.api

    @initialize(edges=st.sets(st.tuples(st.integers(0, 3), st.integers(0, 4)), max_size=4))
    def found(self, edges: set[tuple[int, int]]) -> None:
        """Four beads that wait for earlier ones, or for one that nobody knows, in a convoy of three."""
        self.town.found(max_polecats=MAX_POLECATS)
        for number, name in enumerate(BEADS):
            waits = [
                BEADS[other] if other < 4 else "gp-zz9" for waiter, other in edges if waiter == number and (other < number or other == 4)
            ]
            spec = {"title": name, "dependencies": [{"id": other, "type": "blocks"} for other in waits]}
            self.town.players.create(kinds.BEAD, name, spec)
        self.town.players.create(kinds.CONVOY, "cv", {"beads": BEADS[:3]})

    # The operator

    @rule(choice=st.integers(0, 50))
    def look(self, choice: int) -> None:
        if pending := self.town.pending():
            self.town.look(*pending[choice % len(pending)])

    @rule()
    def look_until_rest(self) -> None:
        self.town.settle()

    @rule(choice=st.integers(0, 20), number=st.integers(1, 3))
    def deliver_some(self, choice: int, number: int) -> None:
        kind = list(self.api.undelivered)[choice % len(self.api.undelivered)]
        self.api.deliver(kind, number)

    @rule(seconds=st.sampled_from([0.5, 3.0, 20.0, 200.0]))
    def time_passes(self, seconds: float) -> None:
        self.town.advance(seconds)

    @precondition(lambda self: self.api.dies_after is None and self.town.deaths < 3)
    @rule(writes=st.integers(1, 6))
    def operator_will_die(self, writes: int) -> None:
        self.api.dies_after = self.api.writes + writes

    @rule()
    def everybody_does_the_next_thing(self) -> None:
        self.town.play()
        self.town.settle()

    # Sessions

    @rule(choice=st.integers(0, 3))
    def pod_starts(self, choice: int) -> None:
        if pods := self.town.sessions():
            self.town.players.start_pod(pods[choice % len(pods)])

    @rule(choice=st.integers(0, 3), outcome=st.sampled_from(["Submitted", "Submitted", "Failed", "NoChange", "Handoff", "garbage"]))
    def session_ends(self, choice: int, outcome: str) -> None:
        running = [pod for pod in self.town.sessions() if self.town.players.is_let_in(pod)]
        if running:
            pod = running[choice % len(running)]
            message = self.town.players.submit(pod) if outcome == "Submitted" else {"outcome": outcome, "reason": "Played"}
            self.town.players.end_session(pod["metadata"]["name"], message, exit_code=int(outcome in ("Failed", "garbage")))

    @rule(choice=st.integers(0, 3))
    def session_submits_and_goes_on(self, choice: int) -> None:
        running = [pod for pod in self.town.sessions() if self.town.players.is_let_in(pod)]
        if running:
            self.town.players.submit(running[choice % len(running)])

    @rule(choice=st.integers(0, 3))
    def pod_vanishes(self, choice: int) -> None:
        if pods := self.town.sessions():
            self.api.remove((kinds.POD, "town", pods[choice % len(pods)]["metadata"]["name"]))

    @rule()
    def deleted_pods_go(self) -> None:
        for pod in self.town.sessions():
            if pod["metadata"].get("deletionTimestamp"):
                self.api.remove((kinds.POD, "town", pod["metadata"]["name"]))

    # Refinery

    @rule(choice=st.integers(0, 5), verdict=st.sampled_from(["on", "on", "on", "Conflicted"]))
    def refinery_moves(self, choice: int, verdict: str) -> None:
        requests = [mr for mr in self.api.all(kinds.MERGE_REQUEST) if mr.get("status", {}).get("phase") not in OVER]
        if requests:
            mr = requests[choice % len(requests)]
            if verdict == "Conflicted" and mr.get("status", {}).get("phase") == "Verifying":
                self.town.players.tell(mr, "Conflicted")
            else:
                self.town.players.refine(mr)

    @rule(exit_code=st.sampled_from([0, 0, 1]))
    def gates_run(self, exit_code: int) -> None:
        for job in self.api.all(kinds.JOB):
            self.town.players.start_job(job) or self.town.players.end_job(job, exit_code)

    # People

    @rule(name=st.sampled_from(BEADS), state=st.sampled_from(["open", "open", "closed", "deferred"]))
    def person_sets_state(self, name: str, state: str) -> None:
        self.api.patch(kinds.BEAD, name, {"spec": {"state": state, "closeReason": "by hand" if state == "closed" else None}})

    @rule(name=st.sampled_from(BEADS))
    def person_unslings(self, name: str) -> None:
        self.api.patch(kinds.BEAD, name, {"spec": {"assignee": ""}})

    @rule(paused=st.booleans())
    def person_pauses_the_convoy(self, paused: bool) -> None:
        self.api.patch(kinds.CONVOY, "cv", {"spec": {"paused": paused}})

    @rule(mode=st.sampled_from(["Inactive", "Active"]))
    def person_stops_the_town(self, mode: str) -> None:
        self.api.patch(kinds.TOWN, "town", {"spec": {"emergencyStop": {"mode": mode}}})

    # What holds at every moment

    @invariant()
    def one_session_per_bead(self) -> None:
        alive = [
            pod["metadata"]["labels"][labels.BEAD]
            for pod in self.town.sessions()
            if pod.get("status", {}).get("phase") not in ("Succeeded", "Failed") and not self.is_on_a_lost_node(pod)
        ]
        assert len(alive) == len(set(alive)), f"two sessions on one bead: {alive}"
        assert len(alive) <= MAX_POLECATS

    def is_on_a_lost_node(self, pod: Json) -> bool:
        """Whether its bead may be given to another agent: it should be gone since long, and is fenced."""
        overdue = seconds_since(pod["metadata"].get("deletionTimestamp", ""), self.town.now)
        return overdue is not None and overdue > LOST_NODE_SECONDS

    @invariant()
    def no_more_agents_than_allowed(self) -> None:
        assert len(self.api.all(kinds.AGENT)) <= MAX_POLECATS

    @invariant()
    def landed_only_with_a_commit_on_main(self) -> None:
        on_main = {mr["status"]["landedCommit"]: mr["spec"]["beadName"] for mr in self.api.all(kinds.MERGE_REQUEST) if is_landed(mr)}
        for bead in self.api.all(kinds.BEAD):
            commits = bead.get("status", {}).get("landedCommits", [])
            assert all(on_main.get(commit) == bead["metadata"]["name"] for commit in commits)
            assert len(commits) == len(set(commits))
            if bead.get("status", {}).get("phase") == "Landed":
                assert commits

    @invariant()
    def nothing_is_refused(self) -> None:
        assert self.town.problems == []

    # What holds in the end

    def teardown(self) -> None:
        """When everybody does their work again, the town comes to a rest in which all is told as it is."""
        try:
            if self.api.all(kinds.TOWN):
                self.comes_to_rest()
        finally:
            self.town.close()

    def comes_to_rest(self) -> None:
        """The laws of a town at rest."""
        self.api.dies_after = None
        self.person_stops_the_town("Inactive")
        self.town.run_to_rest()
        note(str({bead["metadata"]["name"]: bead.get("status", {}).get("phase") for bead in self.api.all(kinds.BEAD)}))
        assert self.town.look_at_everything() == [], "a second look at a town at rest writes"
        assert self.town.sessions() == []
        for bead in self.api.all(kinds.BEAD):
            self.is_told_as_it_is(bead)
        convoy = self.town.stores.convoys.find("town", "cv")
        assert convoy is not None
        assert (convoy.status.phase == "Landed") == self.may_be_landed(convoy)

    def is_told_as_it_is(self, bead: Json) -> None:
        """No landed work is forgotten, and what waits says why."""
        status, name = bead["status"], bead["metadata"]["name"]
        assert status["observedGeneration"] == bead["metadata"]["generation"]
        landed = {
            mr["status"]["landedCommit"] for mr in self.api.all(kinds.MERGE_REQUEST) if is_landed(mr) and mr["spec"]["beadName"] == name
        }
        assert set(status.get("landedCommits", [])) == landed
        assert status["phase"] in ("Landed", "Closed", "Deferred", "Failed", "Blocked"), f"{name} rests as {status['phase']}"
        if status["phase"] == "Blocked":
            waits = status.get("blockedBy") or [condition for condition in status["conditions"] if condition["reason"] == "ConvoyPaused"]
            assert waits
        if status["phase"] not in ("Closed", "Landed", "Deferred"):
            assert bead["spec"].get("assignee", "") == ""

    def may_be_landed(self, convoy: Convoy) -> bool:
        """The law of landing, said anew."""
        members = [self.town.stores.beads.find("town", name) for name in convoy.spec.beads]
        return all(member is not None and outcomes.is_done(member) for member in members)


def is_landed(mr: Json) -> bool:
    return bool(mr.get("status", {}).get("phase") == "Landed")


TestTown = pytest.mark.timeout(600)(Town.TestCase)
TestTown.settings = settings(max_examples=30, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck))

DIAMOND = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_order_of_events_does_not_change_the_end(seed: int) -> None:
    assert end_of_the_diamond(random.Random(seed)) == end_of_the_diamond(None)


def end_of_the_diamond(dice: random.Random | None) -> dict[str, Any]:
    """What the diamond convoy comes to, with everything in a fixed order or in a random one."""
    town = SimulatedTown()
    try:
        town.found()
        templates = [{"name": name, "title": name, "rigName": "greeter", "dependsOn": waits} for name, waits in DIAMOND.items()]
        town.players.create(kinds.CONVOY, "cv", {"templates": templates})
        for _ in range(400 if dice is not None else 0):
            wander(town, dice)
        town.run_to_rest()
        convoy = town.status(kinds.CONVOY, "cv")
        told = {bead["metadata"]["annotations"][labels.LOCAL_NAME]: bead for bead in town.api.all(kinds.BEAD)}
        beads = {
            name: (
                bead["status"]["phase"],
                len(bead["status"]["landedCommits"]),
                bead["status"].get("attempts", 0),
                bead["status"]["usage"],
            )
            for name, bead in told.items()
        }
        order = [
            bead["metadata"]["annotations"][labels.LOCAL_NAME]
            for name in town.players.landed
            for bead in told.values()
            if bead["metadata"]["name"] == name
        ]
        assert order[0] == "a"
        assert order[-1] == "d"
        return {"convoy": (convoy["phase"], convoy["progress"], convoy["waves"]), "beads": beads, "problems": town.problems}
    finally:
        town.close()


def wander(town: SimulatedTown, dice: random.Random | None) -> None:
    """One step of a random walk: a watch, a look, a player or the clock."""
    assert dice is not None
    step = dice.randrange(4)
    if step == 0:
        town.api.deliver(dice.choice(list(town.api.undelivered)), dice.randint(1, 3))
    elif step == 1 and town.pending():
        town.look(*dice.choice(town.pending()))
    elif step == 2:
        town.play()
    else:
        town.advance(dice.random())
