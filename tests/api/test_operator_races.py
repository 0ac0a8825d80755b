"""Several who want the same: two operators, an operator that was away, and sixty-four claimers; each thing happens once."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from gastown.actions import Create, Unchanged
from gastown.api import kinds, labels
from gastown.api.kinds import BEAD, LEASE
from gastown.kube.errors import ApiError, NotFound
from support.cluster import Cluster
from support.crowd import BEADS, all_landed, found, names_of, nothing_was_done_twice, operating
from support.eventually import eventually
from support.executor_builder import Bench, with_bench
from support.mortal import Life
from support.played_town import PlayedTown

pytestmark = pytest.mark.cluster
DEADLINE_SECONDS = 180.0
CLAIMERS = 64


@pytest.fixture
def played(api_server: Cluster, namespace: str) -> PlayedTown:
    return PlayedTown(api_server, namespace)


def holders_seen(played: PlayedTown, stop: threading.Event, seen: dict[str, list[str]]) -> None:
    """Note who held each bead, as far as one looks."""
    while not stop.wait(0.05):
        for bead in played.all(kinds.BEAD):
            holder = bead["spec"].get("assignee", "")
            known = seen.setdefault(bead["metadata"]["name"], [])
            if holder and (not known or known[-1] != holder):
                known.append(holder)


@contextmanager
def noting_holders(played: PlayedTown) -> Iterator[dict[str, list[str]]]:
    seen: dict[str, list[str]] = {}
    stop = threading.Event()
    thread = threading.Thread(target=holders_seen, args=(played, stop, seen))
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join(30)


@pytest.mark.timeout(600)
def test_two_operators_at_once_do_nothing_twice_and_wage_no_war_of_writes(played: PlayedTown, tmp_path: Path) -> None:
    found(played)
    with ExitStack() as stack:
        lives = [stack.enter_context(operating(played, tmp_path / name)) for name in ("one", "other")]
        seen = stack.enter_context(noting_holders(played))
        with played.playing():
            eventually(lambda: all_landed(played), DEADLINE_SECONDS, "all landed")
        settled = [len(life.steps()) for life in lives]
        eventually(lambda: quiet_for(lives, 6.0), 60, "both are quiet")
    nothing_was_done_twice(played)
    assert {name: len(holders) for name, holders in seen.items()} == dict.fromkeys(names_of(BEADS), 1)
    # Each write of a pair is conditional: one happens, the other is refused. A war would go on, and be many times that.
    writes = sum(settled)
    print(f"\n{writes} writes were tried by two operators for {BEADS} beads, {writes / BEADS:.1f} per bead: {settled}")
    assert writes <= 2 * 20 * BEADS + 60


def quiet_for(lives: list[Life], seconds: float) -> bool:
    """Whether nobody began a write for so long."""
    before = [len(life.steps()) for life in lives]
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.2)
        if [len(life.steps()) for life in lives] != before:
            return False
    return True


@pytest.mark.timeout(600)
def test_an_operator_may_start_before_the_last_one_has_ended(played: PlayedTown, tmp_path: Path) -> None:
    found(played)
    with played.playing(), operating(played, tmp_path / "old") as old:
        eventually(lambda: len(played.landed) >= 2, DEADLINE_SECONDS, "two landed")
        with operating(played, tmp_path / "new") as new:
            eventually(lambda: len(played.landed) >= 5, DEADLINE_SECONDS, "five landed")
            old.stop()
            eventually(lambda: all_landed(played), DEADLINE_SECONDS, "all landed")
            assert not new.is_over(), new.told()
    nothing_was_done_twice(played)


@pytest.mark.timeout(600)
def test_an_operator_that_stood_still_for_a_while_does_nothing_wrong_on_its_old_view(played: PlayedTown, tmp_path: Path) -> None:
    found(played)
    with played.playing(), operating(played, tmp_path / "stale") as stale:
        eventually(lambda: len(played.landed) >= 2, DEADLINE_SECONDS, "two landed")
        os.kill(stale.pid, signal.SIGSTOP)
        with operating(played, tmp_path / "fresh") as fresh:
            eventually(lambda: len(played.landed) >= 6, DEADLINE_SECONDS, "six landed")
            os.kill(stale.pid, signal.SIGCONT)
            eventually(lambda: all_landed(played), DEADLINE_SECONDS, "all landed")
            assert not stale.is_over(), stale.told()
            assert not fresh.is_over(), fresh.told()
    nothing_was_done_twice(played)


def claim(played: PlayedTown, name: str, who: str) -> None:
    """As `bd update --claim` does it: by a JSON patch that holds only for a Ready bead that nobody has."""
    patch = [
        {"op": "test", "path": "/status/phase", "value": "Ready"},
        {"op": "test", "path": "/spec/assignee", "value": ""},
        {"op": "replace", "path": "/spec/assignee", "value": who},
    ]
    played.client.json_patch(kinds.BEAD, played.namespace, name, patch)


def stampede(played: PlayedTown, choose: Callable[[int], list[str]]) -> tuple[dict[str, list[str]], list[str]]:
    """All claim at once, each by a connection of its own; winners by bead, and what losers were told."""
    start = threading.Barrier(CLAIMERS)
    won: dict[str, list[str]] = {}
    told: list[str] = []

    def run(number: int) -> None:
        who = f"crew-{number}"
        played.client.get(kinds.BEAD, played.namespace, "gp-0")  # connected before the start
        start.wait(120)
        for name in choose(number):
            try:
                claim(played, name, who)
            except ApiError as error:
                told.append(str(error))
            else:
                won.setdefault(name, []).append(who)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(CLAIMERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
    return won, told


@pytest.mark.timeout(600)
def test_of_sixty_four_claimers_of_one_bead_exactly_one_wins(played: PlayedTown, tmp_path: Path) -> None:
    found(played, 1)
    played.patch(kinds.TOWN, "town", {"spec": {"emergencyStop": {"mode": "Active", "reason": "the race"}}})
    with operating(played, tmp_path / "operator"):
        eventually(lambda: played.phase("gp-0") == "Ready", DEADLINE_SECONDS, "Ready")
        won, told = stampede(played, lambda _: ["gp-0"])
        assert {name: len(winners) for name, winners in won.items()} == {"gp-0": 1}
        assert len(told) == CLAIMERS - 1
        assert all("Invalid" in message or "Conflict" in message for message in told), told[:3]
        eventually(lambda: played.phase("gp-0") == "Hooked", DEADLINE_SECONDS, "Hooked")
    assert played.get(kinds.BEAD, "gp-0")["spec"]["assignee"] == won["gp-0"][0]


@pytest.mark.timeout(600)
def test_claimers_and_a_dispatching_operator_never_get_the_same_bead(played: PlayedTown, tmp_path: Path) -> None:
    found(played, 16)
    played.patch(kinds.TOWN, "town", {"spec": {"emergencyStop": {"mode": "Active", "reason": "the race"}}})
    played.work = lambda _: {}
    with operating(played, tmp_path / "operator"), noting_holders(played) as seen, played.playing():
        eventually(lambda: all(played.phase(name) == "Ready" for name in names_of(16)), DEADLINE_SECONDS, "all Ready")
        thaw = threading.Timer(0.1, lambda: played.patch(kinds.TOWN, "town", {"spec": {"emergencyStop": {"mode": "Inactive"}}}))
        thaw.start()
        won, _ = stampede(played, lambda number: [f"gp-{(number + step) % 16}" for step in range(16)])
        thaw.join()
        assert {name: len(winners) for name, winners in won.items()} == dict.fromkeys(won, 1)
        eventually(lambda: all(bead["spec"].get("assignee") for bead in played.all(kinds.BEAD)), DEADLINE_SECONDS, "all are held")
        held = {bead["metadata"]["name"]: bead["spec"]["assignee"] for bead in played.all(kinds.BEAD)}
        assert {name: held[name] for name in won} == {name: winners[0] for name, winners in won.items()}
        carried = [pod["metadata"]["labels"][labels.BEAD] for pod in played.sessions()]
        assert set(carried).isdisjoint(won), "a session works on a bead that a person took"
    assert {name: len(holders) for name, holders in seen.items()} == dict.fromkeys(names_of(16), 1)


@pytest.mark.parametrize("change", ["taken", "gone", "another of that name"])
def test_what_depends_on_an_object_that_is_no_more_as_it_was_seen_is_not_created(api_server: Cluster, namespace: str, change: str) -> None:
    async def act(it: Bench) -> None:
        seen = await it.make(namespace, "gp-1")
        lease = {"apiVersion": LEASE.api_version, "kind": LEASE.name, "metadata": {"name": "toast", "namespace": namespace}, "spec": {}}
        wanted = Create(lease, provided=(Unchanged(seen, ("spec.assignee",)),))
        if change == "taken":
            await it.client.merge_patch(BEAD, namespace, "gp-1", {"spec": {"assignee": "alice"}})
        else:
            await it.client.delete(BEAD, namespace, "gp-1")
        if change == "another of that name":
            await it.make(namespace, "gp-1")
        outcome = await it.do(wanted)
        assert (outcome.writes, outcome.stale, outcome.problem) == (0, True, "")
        with pytest.raises(NotFound):
            await it.client.get(LEASE, namespace, "toast")
        if change == "taken":
            present = it.beads.find(namespace, "gp-1")
            assert present is not None
            assert present.spec.assignee == "alice", "what was read is known from now on"
            await it.do(Create(lease, provided=(Unchanged(present, ("spec.assignee", "status.sessionUid")),)))
            await it.client.get(LEASE, namespace, "toast")

    with_bench(api_server.configuration(), act)
