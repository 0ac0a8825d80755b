"""The operator's whole control loop: stores, one controller per decider, and who wakes whom. Feeds are added by the process."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gastown.actions import WARNING, Action, Emit, Key
from gastown.api import reasons
from gastown.controllers.bead import BeadWiring
from gastown.controllers.convoy import ConvoyWiring
from gastown.controllers.convoy import decide as decide_convoy
from gastown.controllers.dispatch import DispatchWiring
from gastown.controllers.gate_run import GateRunWiring
from gastown.controllers.heartbeats import Heartbeats
from gastown.controllers.merge_request import MergeRequestWiring
from gastown.controllers.quiet import ProfileWiring, RigWiring, TownWiring
from gastown.controllers.session import SessionWiring
from gastown.controllers.stores import Stores
from gastown.decide import bead, gate_run, merge_request, profile, rig, session, town
from gastown.decide.gate_job import GateSettings
from gastown.decide.session_pod import SessionSettings
from gastown.decide.witness import Patience
from gastown.runtime.controller import Controller
from gastown.runtime.executor import Executor, Outcome
from gastown.runtime.feed import Feed
from gastown.runtime.metrics import Registry
from gastown.runtime.store import Store


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator is told about its installation.

    Attributes:
        repository_url: Address of the repo-server as sessions reach it, without a slash at the end.
        session_image: Of sessions and gates that name no image.
        patience: With sessions that are silent, hung, or do not start.
    """

    repository_url: str
    session_image: str
    patience: Patience = field(default_factory=Patience)


def refusals(store: Store[Any]) -> Callable[[Key, Outcome], list[Action]]:
    """Tell a refused write (a quota, a policy, missing rights) on the object it was for: its owner does not read our log."""

    def tell(key: Key, outcome: Outcome) -> list[Action]:
        value = store.find(*key)
        return [Emit(value, WARNING, reasons.WRITE_REFUSED, outcome.problem)] if value is not None else []

    return tell


def refused_sessions(sessions: SessionWiring, store: Store[Any], executor: Executor) -> Callable[[Key, Outcome], list[Action]]:
    """As `refusals`, and a pod that the server does not take counts as a session."""
    tell = refusals(store)

    def act(key: Key, outcome: Outcome) -> list[Action]:
        seen = sessions.observe(key)
        counted = session.refused(seen, outcome.problem, executor.now()) if outcome.refused_create and seen is not None else []
        return [*tell(key, outcome), *counted]

    return act


def make_controllers(
    stores: Stores,
    settings: Settings,
    executor: Executor,
    feeds: Sequence[Feed],
    metrics: Registry,
    make: Callable[..., Controller[Any]] = Controller,
    clock: Callable[[], float] = time.monotonic,
) -> list[Controller[Any]]:
    """All controllers, wired to the stores but not running; create them in the loop that will run them.

    Every controller waits for every feed: a decision on half of the town could bind a bead twice or call a session lost.

    Args:
        make: Makes each controller; tests step theirs by hand.
        clock: Monotonic seconds, by which sessions are heard and their ends are waited for.
    """
    dispatching = DispatchWiring(stores)
    beading = BeadWiring(stores, dispatching.waiting, clock)
    session_settings = SessionSettings(settings.repository_url, settings.session_image, settings.patience)
    sessions = SessionWiring(stores, session_settings, Heartbeats(stores, feeds, clock))
    gating = GateRunWiring(stores, GateSettings(settings.session_image))
    requests, rigs, profiles, towns = MergeRequestWiring(stores), RigWiring(stores), ProfileWiring(stores), TownWiring(stores)
    convoys = ConvoyWiring(stores)
    common: dict[str, Any] = {"executor": executor, "needs": feeds, "metrics": metrics}

    of_beads = make("bead", observe=beading.observe, decide=bead.decide, workers=4, on_refused=refusals(stores.beads), **common)
    of_dispatch = make("dispatch", observe=dispatching.observe, decide=dispatching.decide, workers=1, **common)
    on_refused = refused_sessions(sessions, stores.agents, executor)
    of_sessions = make("session", observe=sessions.observe, decide=session.decide, workers=4, on_refused=on_refused, **common)
    of_requests = make(
        "merge-request", observe=requests.observe, decide=merge_request.decide, on_refused=refusals(stores.merge_requests), **common
    )
    of_gates = make("gate-run", observe=gating.observe, decide=gate_run.decide, on_refused=refusals(stores.gate_runs), **common)
    of_convoys = make("convoy", observe=convoys.observe, decide=decide_convoy, on_refused=refusals(stores.convoys), **common)
    of_rigs = make("rig", observe=rigs.observe, decide=rig.decide, on_refused=refusals(stores.rigs), **common)
    of_profiles = make(
        "profile", observe=profiles.observe, decide=profile.decide, workers=1, on_refused=refusals(stores.profiles), **common
    )
    of_towns = make("town", observe=towns.observe, decide=town.decide, workers=1, on_refused=refusals(stores.towns), **common)

    beading.wire(of_beads)
    dispatching.wire(of_dispatch, tell=of_beads.enqueue)
    sessions.wire(of_sessions)
    requests.wire(of_requests)
    gating.wire(of_gates)
    convoys.wire(of_convoys)
    rigs.wire(of_rigs)
    profiles.wire(of_profiles)
    towns.wire(of_towns)
    return [of_beads, of_dispatch, of_sessions, of_requests, of_gates, of_convoys, of_rigs, of_profiles, of_towns]
