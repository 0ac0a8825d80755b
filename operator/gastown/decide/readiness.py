"""May this bead start, and if not, what holds it back? Pure; `decide/bead.py` makes phase and conditions of the answer.

The guards stand in one order: what people asked for, what only people can heal, what passes by itself. The order is tested.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gastown.api import bead as beads
from gastown.api import reasons, town
from gastown.api.bead import Bead, DependencyOutcome
from gastown.api.convoy import FAILURE_STOP, PHASE_FAILED, Convoy
from gastown.api.names import prefix_of
from gastown.api.rig import Rig
from gastown.decide import dependencies, graph
from gastown.decide.dependencies import Neighbours
from gastown.decide.times import unix_seconds

NAMED_LIMIT = 20


@dataclass(frozen=True, slots=True)
class Readiness:
    """What bears on whether a bead may start.

    Attributes:
        neighbours: Its dependencies, parents and children.
        rig: The rig named in the spec, else the one with the bead's prefix; None if there is none.
        knows_prefix: Whether the prefix is a rig's or the town's own.
        convoys: Those it is a member of.
        cycle: Beads that wait for each other in a ring through this one, in order; () if there is none.
        session_ends: A session that lost the bead has not ended yet.
    """

    bead: Bead
    neighbours: Neighbours = field(default_factory=Neighbours)
    rig: Rig | None = None
    knows_prefix: bool = True
    convoys: tuple[Convoy, ...] = ()
    cycle: tuple[str, ...] = ()
    session_ends: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a bead may start.

    Attributes:
        reason: STARTABLE when all rules are satisfied and only a free agent is missing.
        is_blocked: Something other than a person's wish or the clock holds it back: phase Blocked.
        blocked_by: IDs of what it waits for.
        dependencies: What each blocking dependency came to, to be recorded.
        skip: ID of the bead that did not fail, so that this one is not needed; "" otherwise.
        wake_after_seconds: When the clock alone changes the answer; None if never.
    """

    reason: str
    message: str
    is_blocked: bool = False
    blocked_by: tuple[str, ...] = ()
    dependencies: tuple[DependencyOutcome, ...] = ()
    skip: str = ""
    wake_after_seconds: float | None = None

    @property
    def startable(self) -> bool:
        """Whether it may start now."""
        return self.reason == reasons.STARTABLE


def judge(seen: Readiness, now: float) -> Verdict:
    """The answer for an open bead that nobody holds.

    Args:
        now: Unix seconds.
    """
    recorded = tuple(dependencies.recorded_outcomes(seen.bead, seen.neighbours))
    return _asked_for(seen, now, recorded) or _addressed(seen, recorded) or _waiting(seen, now, recorded) or _free(recorded)


def _asked_for(seen: Readiness, now: float, recorded: tuple[DependencyOutcome, ...]) -> Verdict | None:
    """Held back by a person's wish or the clock."""
    spec = seen.bead.spec
    if spec.state == beads.PINNED:
        return Verdict(reasons.PINNED, "pinned: kept in view, never worked on; set state open to have it done", dependencies=recorded)
    if spec.state == beads.DEFERRED:
        return Verdict(reasons.DEFERRED, "deferred; set state open to have it done", dependencies=recorded)
    ahead = (unix_seconds(spec.deferUntil) or 0.0) - now
    if ahead > 0:
        return Verdict(reasons.DEFERRED, f"deferred until {spec.deferUntil}", dependencies=recorded, wake_after_seconds=ahead)
    return None


def _addressed(seen: Readiness, recorded: tuple[DependencyOutcome, ...]) -> Verdict | None:
    """Held back because nobody is there to do it."""
    name, spec = seen.bead.metadata.name, seen.bead.spec
    if not seen.knows_prefix:
        prefix = prefix_of(name)
        text = f"no Rig has the prefix {prefix or '(none)'}; create one, or recreate the bead under the prefix of a Rig"
        return Verdict(reasons.UNKNOWN_PREFIX, text, is_blocked=True, dependencies=recorded)
    if spec.type in beads.UNDISPATCHED_TYPES:
        return Verdict(reasons.NOT_DISPATCHED, f"beads of type {spec.type} are never given to an agent", dependencies=recorded)
    if seen.rig is None:
        if spec.rigName:
            text = f"Rig {spec.rigName} does not exist; create it, or correct spec.rigName"
        else:
            text = f"prefix {town.PREFIX} is the town's own; set spec.rigName to have an agent of that Rig do it"
        return Verdict(reasons.NO_RIG, text, is_blocked=True, dependencies=recorded)
    return None


def _waiting(seen: Readiness, now: float, recorded: tuple[DependencyOutcome, ...]) -> Verdict | None:
    """Held back by other work."""
    if seen.cycle:
        text = f"these wait for each other: {graph.ring_text(seen.cycle)}; remove one of the dependencies, or a parent"
        return Verdict(reasons.DEPENDENCY_CYCLE, text, is_blocked=True, blocked_by=seen.cycle, dependencies=recorded)
    held = [outcome for outcome in recorded if dependencies.unsatisfied(outcome)]
    if held:
        return _held_by(held, recorded)
    parent = seen.neighbours.beads.get(dependencies.parent_name(seen.bead))
    if parent is not None and dependencies.holds_back_children(parent, seen.neighbours, now):
        ahead = (unix_seconds(parent.spec.deferUntil) or 0.0) - now
        return Verdict(
            reasons.PARENT_BLOCKED,
            f"its parent {parent.metadata.name} is blocked or deferred",
            is_blocked=True,
            blocked_by=(parent.metadata.name,),
            dependencies=recorded,
            wake_after_seconds=ahead if ahead > 0 else None,
        )
    for convoy in seen.convoys:
        if (why := _held_by_convoy(convoy)) is not None:
            return Verdict(*why, is_blocked=True, dependencies=recorded)
    if seen.session_ends:
        text = "its former session is still ending; another may start when that pod is gone"
        return Verdict(reasons.STOPPING, text, is_blocked=True, dependencies=recorded)
    return None


def _held_by_convoy(convoy: Convoy) -> tuple[str, str] | None:
    """Reason and message, if no bead of that convoy may start."""
    name = convoy.metadata.name
    if convoy.spec.cancelled:
        return reasons.CANCELLED, f"convoy {name} is cancelled"
    if convoy.spec.paused:
        return reasons.CONVOY_PAUSED, f"convoy {name} is paused"
    if convoy.spec.failurePolicy == FAILURE_STOP and convoy.status.phase == PHASE_FAILED:
        return reasons.MEMBER_FAILED, f"convoy {name} stops when a bead fails, and one did"
    return None


def _held_by(held: list[DependencyOutcome], recorded: tuple[DependencyOutcome, ...]) -> Verdict:
    skip = dependencies.never_comes_true(held)
    if skip:
        return Verdict(reasons.SKIPPED, f"only needed had {skip} failed", is_blocked=True, dependencies=recorded, skip=skip)
    unknown = tuple(dict.fromkeys(outcome.id for outcome in held if outcome.outcome == beads.OUTCOME_UNKNOWN))
    names = tuple(dict.fromkeys(outcome.id for outcome in held))
    if unknown:
        # Fail closed: a bead that cannot be seen may still be open.
        text = f"depends on {_listed(unknown)}, which nobody knows; create it, or remove the dependency"
        return Verdict(reasons.UNKNOWN_DEPENDENCY, text, is_blocked=True, blocked_by=names, dependencies=recorded)
    return Verdict(reasons.BLOCKED, f"waits for {_listed(names)}", is_blocked=True, blocked_by=names, dependencies=recorded)


def _free(recorded: tuple[DependencyOutcome, ...]) -> Verdict:
    return Verdict(reasons.STARTABLE, "nothing holds it back", dependencies=recorded)


def _listed(names: tuple[str, ...]) -> str:
    text = ", ".join(names[:NAMED_LIMIT])
    return text if len(names) <= NAMED_LIMIT else f"{text} and {len(names) - NAMED_LIMIT} more"
