"""Is this convoy sound, how far is it, and when is it landed? Pure.

Landed means: every member landed, or was closed without failure when it delivers no commit, or was skipped, and at least one was not
skipped. It is derived anew each time, so a member that reopens opens its convoy; a convoy of nothing never lands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gastown.actions import NORMAL, WARNING, Action, Create, Emit, SetStatus, Wake
from gastown.api import bead as beads
from gastown.api import conditions, convoy, reasons
from gastown.api.bead import Bead
from gastown.api.convoy import Convoy, ConvoyCounts, ConvoyStatus, MemberReason
from gastown.api.meta import Condition
from gastown.api.rig import Rig
from gastown.api.usage import Usage
from gastown.decide import dependencies, outcomes
from gastown.decide.convoy_plan import ConvoyPlan, Unsound, bead_of, plan_of, waves_of
from gastown.decide.times import time_text
from gastown.decide.usage import added

# As the CRD bounds them.
REASONS_LIMIT = 32
MESSAGE_LIMIT = 1024
LOOK_AGAIN_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class ConvoySeen:
    """All that bears on one convoy.

    Attributes:
        beads: Those of its members that exist, by name.
        rigs: Those of its namespace, by name.
    """

    convoy: Convoy
    beads: Mapping[str, Bead] = field(default_factory=dict)
    rigs: Mapping[str, Rig] = field(default_factory=dict)


def decide(seen: ConvoySeen, now: float) -> list[Action]:
    """Make the beads that are missing, and tell how far the convoy is.

    Args:
        now: Unix seconds.
    """
    subject = seen.convoy
    if subject.metadata.deletionTimestamp:
        return []
    plan = plan_of(subject, seen.beads, seen.rigs)
    if isinstance(plan, Unsound):
        if plan.reason == reasons.NO_RIG and _was_complete(subject):
            return _without_rig(subject, plan, now)
        status = _refused(subject, plan, now)
        # What is in the way may be no member: its going tells nobody of this convoy.
        wakes = [Wake(LOOK_AGAIN_SECONDS, reason=plan.message)] if plan.reason == reasons.NAME_TAKEN else []
        return [SetStatus(subject, status, reason=plan.message), *_event(subject, status, plan.reason, plan.message), *wakes]
    creations = _missing_beads(seen, plan)
    if creations:
        # The answers wake this key again, but those that say "exists already"; told is what then is there.
        return [*creations, Wake(LOOK_AGAIN_SECONDS, reason="its beads are being made")]
    status, reason, message = _derive(seen, plan, now)
    return [SetStatus(subject, status, roll_up=True, reason=message), *_event(subject, status, reason, message)]


def _missing_beads(seen: ConvoySeen, plan: ConvoyPlan) -> list[Action]:
    """Beads of templates that were never made. One that was made and is gone was deleted by somebody: it is not made again."""
    subject = seen.convoy
    if _was_complete(subject) or subject.spec.cancelled:
        return []
    missing = [template for template in subject.spec.templates if plan.names[template.name] not in seen.beads]
    return [Create(bead_of(subject, template, plan), reason=f"template {template.name}") for template in missing]


def _was_complete(subject: Convoy) -> bool:
    """Whether all beads of the present spec were made before."""
    # Not by observedGeneration alone: this generation may have been observed and refused.
    ready = conditions.find_condition(subject.status.conditions, conditions.READY)
    return ready is not None and ready.status == "True" and ready.observedGeneration == subject.metadata.generation


def _without_rig(subject: Convoy, problem: Unsound, now: float) -> list[Action]:
    """A Rig went after the beads were made. Without its prefix they can not be named, so how far the convoy is stays as it was told: what
    has landed has landed, and what was under way waits for the Rig to come back.
    """
    if subject.status.phase not in (convoy.PHASE_RUNNING, convoy.PHASE_PAUSED):
        return []
    told = Condition(
        type=conditions.PROGRESSING,
        status="False",
        reason=problem.reason,
        message=problem.message,
        observedGeneration=subject.metadata.generation,
    )
    kept = conditions.with_condition(subject.status.conditions, told, time_text(now))
    return [SetStatus(subject, replace(subject.status, conditions=kept), reason=problem.message)]


def _refused(subject: Convoy, problem: Unsound, now: float) -> ConvoyStatus:
    told = [
        Condition(type=conditions.READY, status="False", reason=problem.reason, message=problem.message),
        Condition(type=conditions.PROGRESSING, status="False", reason=problem.reason, message=problem.message),
        Condition(type=conditions.LANDED, status="False", reason=reasons.VALIDATING, message="its beads are not made yet"),
    ]
    if problem.is_final:
        told.append(Condition(type=conditions.STALLED, status="True", reason=problem.reason, message=problem.message))
    return replace(
        subject.status,
        observedGeneration=subject.metadata.generation,
        phase=convoy.PHASE_CANCELLED if subject.spec.cancelled else convoy.PHASE_VALIDATING,
        conditions=_conditions(subject, told, now),
    )


def _derive(seen: ConvoySeen, plan: ConvoyPlan, now: float) -> tuple[ConvoyStatus, str, str]:
    subject = seen.convoy
    counts = _counts(plan, seen.beads)
    phase, reason, message = _phase(seen, plan, counts)
    held = _reasons(plan, seen.beads)
    usage = Usage()
    members = [seen.beads[name] for name in plan.members if name in seen.beads]
    for bead in members:
        usage = added(usage, bead.status.usage)
    landed = phase == convoy.PHASE_LANDED
    told = [
        Condition(type=conditions.READY, status="True", reason=reasons.ACCEPTED, message="sound, and its beads are made"),
        _progressing(phase, reason, message, any(_moves(bead) for bead in members)),
        Condition(type=conditions.LANDED, status="True" if landed else "False", reason=reason, message=message),
    ]
    if phase == convoy.PHASE_FAILED:
        told.append(Condition(type=conditions.STALLED, status="True", reason=reason, message=message))
    status = replace(
        subject.status,
        observedGeneration=subject.metadata.generation,
        phase=phase,
        progress=f"{counts.done}/{counts.total}",
        counts=counts,
        waves=waves_of(plan, seen.beads),
        reasons=held,
        usage=usage,
        startTime=subject.status.startTime or time_text(now),
        landedTime=(subject.status.landedTime or time_text(now)) if landed else "",
        conditions=_conditions(subject, told, now),
    )
    return status, reason, message


def _counts(plan: ConvoyPlan, members: Mapping[str, Bead]) -> ConvoyCounts:
    found = [members[name] for name in plan.members if name in members]
    number = Counter(_kind_of(bead) for bead in found)
    return ConvoyCounts(
        total=len(plan.members),
        missing=len(plan.members) - len(found),
        done=sum(outcomes.is_done(bead) for bead in found),
        **{kind: number[kind] for kind in set(_KINDS.values()) | {"landed", "skipped", "closed", "blocked"}},
    )


_KINDS = {
    beads.PHASE_DEFERRED: "deferred",
    beads.PHASE_PINNED: "deferred",
    beads.PHASE_FAILED: "failed",
    beads.PHASE_SUBMITTED: "submitted",
    beads.PHASE_WORKING: "working",
    beads.PHASE_HOOKED: "hooked",
    beads.PHASE_READY: "ready",
}


def _kind_of(bead: Bead) -> str:
    if outcomes.is_skipped(bead):
        return "skipped"
    if outcomes.is_landed(bead):
        return "landed"
    if outcomes.is_closed_in_vain(bead) or outcomes.is_done(bead):
        return "closed"
    return _KINDS.get(bead.status.phase, "blocked")


def _phase(seen: ConvoySeen, plan: ConvoyPlan, counts: ConvoyCounts) -> tuple[str, str, str]:
    """Phase, reason and message."""
    spec = seen.convoy.spec
    progress = f"{counts.done} of {counts.total} done"
    if spec.cancelled:
        return convoy.PHASE_CANCELLED, reasons.CANCELLED, f"cancelled with {progress}"
    if counts.done == counts.total:
        if counts.skipped < counts.total:
            return convoy.PHASE_LANDED, reasons.ALL_DONE, progress
        return convoy.PHASE_FAILED, reasons.SKIPPED, "every bead was skipped, so nothing was done; reopen one, or cancel the convoy"
    stuck = _stuck(plan, seen.beads)
    failed = [name for name in stuck if name in seen.beads and _has_failed(seen.beads[name])]
    open_members = counts.total - counts.done
    if failed and (spec.failurePolicy == convoy.FAILURE_STOP or len(stuck) == open_members):
        return convoy.PHASE_FAILED, reasons.MEMBER_FAILED, f"{progress}; {_listed(failed)} did not succeed: retry, reopen or cancel"
    if spec.paused:
        return convoy.PHASE_PAUSED, reasons.PAUSED, f"paused with {progress}"
    return convoy.PHASE_RUNNING, reasons.IN_PROGRESS, progress


def _has_failed(bead: Bead) -> bool:
    return outcomes.is_given_up(bead) or outcomes.is_closed_in_vain(bead)


def _stuck(plan: ConvoyPlan, members: Mapping[str, Bead]) -> list[str]:
    """Members that will not be done unless a person acts: failed, or missing, or waiting for such a one."""
    waiting: dict[str, list[str]] = {}
    for name in plan.members:
        bead = members.get(name)
        if bead is not None and not outcomes.is_closed(bead):
            for outcome in bead.status.dependencies:
                if dependencies.unsatisfied(outcome):
                    waiting.setdefault(outcome.id, []).append(name)
    stuck = dict.fromkeys(name for name in plan.members if name not in members or _has_failed(members[name]))
    found = list(stuck)
    for blocker in found:  # grows while it is walked
        held = [name for name in waiting.get(blocker, ()) if name not in stuck]
        stuck.update(dict.fromkeys(held))
        found.extend(held)
    return [name for name in plan.members if name in stuck]


def _reasons(plan: ConvoyPlan, members: Mapping[str, Bead]) -> list[MemberReason]:
    """Members that a person may want to look at: not those that simply wait for their turn."""
    told: list[tuple[int, MemberReason]] = []
    for name in plan.members:
        bead = members.get(name)
        if bead is None:
            told.append((0, MemberReason(beadName=name, reason=reasons.UNKNOWN_DEPENDENCY, message="does not exist; create or unlist it")))
        elif not outcomes.is_done(bead) and (reason := _why_held(bead)) is not None:
            urgency = 1 if _has_failed(bead) else 2
            told.append((urgency, MemberReason(beadName=name, reason=reason[0], message=reason[1][:MESSAGE_LIMIT])))
    return [item for _, item in sorted(told, key=lambda pair: pair[0])][:REASONS_LIMIT]


def _why_held(bead: Bead) -> tuple[str, str] | None:
    reason, message = outcomes.why_not_done(bead)
    quiet = {reasons.BLOCKED, reasons.STARTABLE, reasons.BOUND, reasons.MERGE_REQUEST_CREATED, reasons.VALIDATING, reasons.PARENT_BLOCKED}
    return None if reason in quiet or _moves(bead) else (reason, message)


def _moves(bead: Bead) -> bool:
    is_on_its_way = bead.status.phase in (beads.PHASE_READY, beads.PHASE_HOOKED, beads.PHASE_WORKING, beads.PHASE_SUBMITTED)
    return is_on_its_way and not conditions.is_false(bead.status.conditions, conditions.PROGRESSING)


def _progressing(phase: str, reason: str, message: str, moves: bool) -> Condition:
    if phase == convoy.PHASE_RUNNING and not moves:
        text = f"{message}; no bead moves, see status.reasons"
        return Condition(type=conditions.PROGRESSING, status="False", reason=reasons.MEMBERS_WAITING, message=text)
    status = "True" if phase == convoy.PHASE_RUNNING else "False"
    return Condition(type=conditions.PROGRESSING, status=status, reason=reason, message=message)


def _conditions(subject: Convoy, told: list[Condition], now: float) -> list[Condition]:
    found = subject.status.conditions
    for condition in told:
        found = conditions.with_condition(found, replace(condition, observedGeneration=subject.metadata.generation), time_text(now))
    if not any(condition.type == conditions.STALLED for condition in told):
        found = conditions.without_condition(found, conditions.STALLED)
    return list(found)


def _event(subject: Convoy, status: ConvoyStatus, reason: str, message: str) -> list[Emit]:
    before = conditions.find_condition(subject.status.conditions, conditions.READY)
    is_refusal = conditions.is_false(status.conditions, conditions.READY)
    if is_refusal and (before is None or (before.status, before.reason) != ("False", reason)):
        return [Emit(subject, WARNING, reason, message)]
    if status.phase == subject.status.phase or status.phase not in (convoy.PHASE_LANDED, convoy.PHASE_FAILED):
        return []
    return [Emit(subject, NORMAL if status.phase == convoy.PHASE_LANDED else WARNING, reason, message)]


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
