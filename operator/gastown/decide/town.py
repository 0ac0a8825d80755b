"""The town in one object: counts of what is in it, and whether it is stopped. Pure; a roll-up, written at most every few seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gastown.actions import NORMAL, WARNING, Action, Emit, SetStatus
from gastown.api import agent as agents
from gastown.api import bead as beads
from gastown.api import conditions, convoy, reasons, town
from gastown.api.meta import Condition
from gastown.api.town import Town, TownCounts
from gastown.api.usage import Usage
from gastown.decide.session_stop import is_stopped
from gastown.decide.times import time_text


@dataclass(frozen=True, slots=True)
class TownSeen:
    """What is in the town.

    Attributes:
        beads_by_phase: Number of beads by status.phase.
        agents_by_phase: Likewise.
        convoys_by_phase: Likewise.
        usage: Of all agents.
    """

    town: Town
    rigs: int = 0
    beads_by_phase: Mapping[str, int] = field(default_factory=dict)
    agents_by_phase: Mapping[str, int] = field(default_factory=dict)
    convoys_by_phase: Mapping[str, int] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)


def decide(seen: TownSeen, now: float) -> list[Action]:
    """Tell the counts, and the emergency stop at once.

    Args:
        now: Unix seconds.
    """
    subject = seen.town
    if subject.metadata.deletionTimestamp:
        return []
    phase = town.PHASE_STOPPED if is_stopped(subject) else town.PHASE_RUNNING
    status = replace(
        subject.status,
        observedGeneration=subject.metadata.generation,
        phase=phase,
        counts=_counts(seen),
        usage=seen.usage,
        conditions=_conditions(subject, now),
    )
    # A new phase is written at once although the counts are a roll-up.
    events: list[Action] = []
    if subject.status.phase and phase != subject.status.phase:
        events = [_event(subject, phase)]
    return [SetStatus(subject, status, roll_up=True, reason=phase), *events]


def _counts(seen: TownSeen) -> TownCounts:
    bead, agent = Counter(seen.beads_by_phase), Counter(seen.agents_by_phase)
    closed = bead[beads.PHASE_CLOSED] + bead[beads.PHASE_LANDED]
    return TownCounts(
        rigs=seen.rigs,
        agents=agent.total(),
        workingAgents=agent[agents.PHASE_STARTING] + agent[agents.PHASE_WORKING],
        openBeads=bead.total() - closed,
        readyBeads=bead[beads.PHASE_READY],
        blockedBeads=bead[beads.PHASE_BLOCKED],
        hookedBeads=bead[beads.PHASE_HOOKED] + bead[beads.PHASE_WORKING],
        submittedBeads=bead[beads.PHASE_SUBMITTED],
        failedBeads=bead[beads.PHASE_FAILED],
        closedBeads=closed,
        runningConvoys=seen.convoys_by_phase.get(convoy.PHASE_RUNNING, 0),
    )


def _conditions(subject: Town, now: float) -> list[Condition]:
    generation, stop = subject.metadata.generation, subject.spec.emergencyStop
    ready = Condition(type=conditions.READY, status="True", reason=reasons.ACCEPTED, message="accepted", observedGeneration=generation)
    found = conditions.with_condition(subject.status.conditions, ready, time_text(now))
    if not is_stopped(subject):
        return conditions.without_condition(found, conditions.PROGRESSING)
    text = f"emergency stop: {stop.reason or 'no reason given'}; set spec.emergencyStop.mode {town.STOP_OFF} to go on"
    stopped = Condition(
        type=conditions.PROGRESSING, status="False", reason=reasons.EMERGENCY_STOP, message=text, observedGeneration=generation
    )
    return conditions.with_condition(found, stopped, time_text(now))


def _event(subject: Town, phase: str) -> Emit:
    if phase == town.PHASE_STOPPED:
        text = f"nothing is bound, started or landed: {subject.spec.emergencyStop.reason or 'no reason given'}"
        return Emit(subject, WARNING, reasons.EMERGENCY_STOP, text)
    return Emit(subject, NORMAL, reasons.THAWED, "the emergency stop is off; work goes on where it was")
