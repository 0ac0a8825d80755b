"""Is this convoy sound, how far is it, and when is it landed?"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gastown.actions import Action, Create, Emit, SetStatus
from gastown.api import conditions
from gastown.api.bead import Bead, Dependency, DependencyOutcome
from gastown.api.convoy import BeadDefaults, Convoy, ConvoyStatus, Wave
from gastown.api.names import convoy_bead_name
from gastown.decide import convoy, outcomes
from gastown.decide.convoy import ConvoySeen
from support import build
from support.build import NOON, NOON_TEXT

DIAMOND = (build.template("a"), build.template("b", "a"), build.template("c", "a"), build.template("d", "b", "c"))
STARTED = ConvoyStatus(startTime=NOON_TEXT, observedGeneration=1, conditions=[build.condition("Ready")])


def seen(subject: Convoy, *members: Bead) -> ConvoySeen:
    """With beads that the convoy made itself, unless they say otherwise."""
    maker = f"convoy/{subject.metadata.name}"
    made = (dataclasses.replace(bead, spec=dataclasses.replace(bead.spec, createdBy=bead.spec.createdBy or maker)) for bead in members)
    return ConvoySeen(subject, {bead.metadata.name: bead for bead in made}, {"greeter": build.rig()})


def listing(*members: Bead, **spec: Any) -> ConvoySeen:
    """A convoy that lists existing beads."""
    return seen(build.convoy(beads=[bead.metadata.name for bead in members], status=STARTED, **spec), *members)


def status_of(what: ConvoySeen) -> ConvoyStatus:
    (action,) = [action for action in convoy.decide(what, NOON) if isinstance(action, SetStatus)]
    assert isinstance(action.status, ConvoyStatus)
    return action.status


def created(actions: list[Action]) -> dict[str, dict[str, Any]]:
    """Local name -> the bead to be made."""
    found = [dict(action.object) for action in actions if isinstance(action, Create) and isinstance(action.object, dict)]
    return {bead["metadata"]["annotations"]["gastown.dev/local-name"]: bead for bead in found}


def said(status: ConvoyStatus, type_: str) -> tuple[str, str]:
    found = conditions.find_condition(status.conditions, type_)
    return (found.status, found.reason) if found is not None else ("", "")


def name_of(local: str) -> str:
    return convoy_bead_name("gp", "uid-moods", local)


class TestBeads:
    def test_templates_become_beads_that_wait_for_each_other(self) -> None:
        made = created(convoy.decide(seen(build.convoy(templates=DIAMOND)), NOON))
        assert [bead["metadata"]["name"] for bead in made.values()] == [name_of(local) for local in "abcd"]
        assert made["d"]["spec"]["dependencies"] == [{"id": name_of("b"), "type": "blocks"}, {"id": name_of("c"), "type": "blocks"}]

    def test_a_convoy_does_not_own_its_beads_but_can_be_found_from_them(self) -> None:
        bead = created(convoy.decide(seen(build.convoy(templates=DIAMOND)), NOON))["a"]
        assert "ownerReferences" not in bead["metadata"]
        assert bead["metadata"]["labels"]["gastown.dev/convoy"] == "moods"

    def test_what_a_template_leaves_out_comes_from_the_defaults_and_then_from_the_kind(self) -> None:
        defaults = BeadDefaults(rigName="greeter", priority=1, model="large", labels=["fun"])
        templates = [build.template("a", rigName="", labels=["new"]), build.template("b", priority=0, model="small")]
        made = created(convoy.decide(seen(build.convoy(templates=templates, defaults=defaults)), NOON))
        assert made["a"]["spec"] == {
            "title": "Do a",
            "priority": 1,
            "delivery": "Commit",
            "rigName": "greeter",
            "model": "large",
            "labels": ["fun", "new"],
            "createdBy": "convoy/moods",
            "createdTime": NOON_TEXT,
        }
        assert (made["b"]["spec"]["priority"], made["b"]["spec"]["model"]) == (0, "small")

    def test_only_what_is_missing_is_made(self) -> None:
        assert set(created(convoy.decide(seen(build.convoy(templates=DIAMOND), build.bead(name_of("a"))), NOON))) == {"b", "c", "d"}

    def test_a_bead_that_was_deleted_is_not_made_again(self) -> None:
        what = seen(build.convoy(templates=DIAMOND, status=STARTED), *(build.bead(name_of(local)) for local in "abc"))
        assert created(convoy.decide(what, NOON)) == {}
        assert status_of(what).counts.missing == 1

    def test_a_template_added_later_is_made(self) -> None:
        subject = build.at_generation(build.convoy(templates=DIAMOND, status=STARTED), 2)
        assert set(created(convoy.decide(seen(subject, *(build.bead(name_of(local)) for local in "abc")), NOON))) == {"d"}

    def test_a_template_added_later_is_made_though_it_was_refused_at_first(self) -> None:
        added = [*DIAMOND, build.template("e", rigName="later")]
        subject = build.at_generation(build.convoy(templates=added, status=STARTED), 2)
        members = {name_of(local): build.bead(name_of(local), createdBy="convoy/moods") for local in "abcd"}
        refused = dataclasses.replace(subject, status=status_of(ConvoySeen(subject, members, {"greeter": build.rig()})))
        assert said(refused.status, "Ready") == ("False", "NoRig")
        rigs = {"greeter": build.rig(), "later": build.rig("later", prefix="lt")}
        assert set(created(convoy.decide(ConvoySeen(refused, members, rigs), NOON))) == {"e"}

    @pytest.mark.parametrize("phase", ["Landed", "Failed"])
    def test_what_is_over_stays_so_when_its_rig_is_deleted(self, phase: str) -> None:
        subject = build.convoy(templates=DIAMOND, status=dataclasses.replace(STARTED, phase=phase))
        assert convoy.decide(ConvoySeen(subject), NOON) == []

    def test_what_is_under_way_waits_for_its_deleted_rig_and_goes_on_with_it(self) -> None:
        subject = build.convoy(templates=DIAMOND, status=dataclasses.replace(STARTED, phase="Running"))
        orphaned = status_of(ConvoySeen(subject))
        assert (orphaned.phase, said(orphaned, "Progressing"), said(orphaned, "Ready")[0]) == ("Running", ("False", "NoRig"), "True")
        assert convoy.decide(ConvoySeen(dataclasses.replace(subject, status=orphaned)), NOON)[0].status == orphaned  # type: ignore[union-attr]
        members = [build.bead(name_of(local), createdBy="convoy/moods") for local in "abc"]
        back = seen(dataclasses.replace(subject, status=orphaned), *members)
        assert created(convoy.decide(back, NOON)) == {}, "d was deleted by somebody"

    def test_bead_names_follow_from_the_convoy_object_and_the_local_name_alone(self) -> None:
        names = [name_of(local) for local in "abcd"]
        again = build.convoy(templates=DIAMOND[::-1], meta={"generation": 7, "labels": {"team": "fun"}}, title="again")
        assert sorted(bead["metadata"]["name"] for bead in created(convoy.decide(seen(again), NOON)).values()) == sorted(names)
        other = build.convoy(templates=DIAMOND, meta={"uid": "uid-other"})
        assert not {bead["metadata"]["name"] for bead in created(convoy.decide(seen(other), NOON)).values()} & set(names)


@pytest.mark.parametrize(
    ("subject", "reason", "words", "is_final"),
    [
        pytest.param(build.convoy(), "Empty", "no beads", True, id="nothing at all"),
        pytest.param(
            build.convoy(templates=[build.template("a"), build.template("a")]),
            "DuplicateName",
            "share the name a",
            True,
            id="same name twice",
        ),
        pytest.param(
            build.convoy(templates=[build.template("a", "z")]),
            "UnknownLocalName",
            "a depends on z, which no template",
            True,
            id="unknown name",
        ),
        pytest.param(
            build.convoy(templates=[build.template("a", "c"), build.template("b", "a"), build.template("c", "b")]),
            "Cycle",
            "a -> c -> b -> a",
            True,
            id="ring of templates",
        ),
        pytest.param(
            build.convoy(templates=[build.template("a", rigName="gone")]),
            "NoRig",
            "Rig gone does not exist",
            False,
            id="rig does not exist",
        ),
        pytest.param(build.convoy(templates=[build.template("a", rigName="")]), "NoRig", "names no Rig", False, id="no rig named"),
    ],
)
def test_an_unsound_convoy_is_refused_with_the_remedy_and_makes_nothing(subject: Convoy, reason: str, words: str, is_final: bool) -> None:
    actions = convoy.decide(seen(subject), NOON)
    status = status_of(seen(subject))
    assert created(actions) == {}
    assert said(status, "Ready") == ("False", reason)
    assert said(status, "Stalled") == (("True", reason) if is_final else ("", ""))
    assert status.phase == "Validating"
    assert words in next(condition.message for condition in status.conditions if condition.type == "Ready")
    assert [action.reason for action in actions if isinstance(action, Emit)] == [reason]


def test_a_ring_of_listed_beads_is_refused_too() -> None:
    status = status_of(listing(build.bead("gp-1", waits_for=["gp-2"]), build.bead("gp-2", waits_for=["gp-1"])))
    assert said(status, "Ready") == ("False", "Cycle")


LANDED = build.bead("gp-1", landed=True)
NO_COMMIT = build.bead("gp-2", state="closed", delivery="None", phase="Closed")
NO_COMMIT_FAILED = build.bead("gp-2", state="closed", delivery="None", closeReason="failed: no way", phase="Closed")
CLOSED_UNLANDED = build.bead("gp-2", state="closed", phase="Closed")
CLOSING = build.at_generation(build.bead("gp-2", state="closed", phase="Submitted"), 2)
SKIPPED = build.bead("gp-3", state="closed", closeReason="skipped: gp-1 did not fail", phase="Closed")
WORKING = build.held_bead("gp-2", phase="Working")
READY = build.bead("gp-2", phase="Ready")
GIVEN_UP = build.bead("gp-2", phase="Failed", status={"conditions": [build.condition("Startable", "False", "AttemptsExhausted")]})
BEHIND = build.bead(
    "gp-3", waits_for=["gp-2"], phase="Blocked", status={"dependencies": [DependencyOutcome(id="gp-2")], "blockedBy": ["gp-2"]}
)


@pytest.mark.parametrize(
    ("what", "phase", "landed"),
    [
        pytest.param(listing(LANDED), "Landed", ("True", "AllDone"), id="all landed"),
        pytest.param(listing(LANDED, NO_COMMIT), "Landed", ("True", "AllDone"), id="one closed that delivers no commit"),
        pytest.param(listing(LANDED, SKIPPED), "Landed", ("True", "AllDone"), id="one skipped"),
        pytest.param(listing(SKIPPED), "Failed", ("False", "Skipped"), id="all skipped never lands"),
        pytest.param(listing(LANDED, WORKING), "Running", ("False", "InProgress"), id="one at work"),
        pytest.param(listing(LANDED, CLOSED_UNLANDED), "Failed", ("False", "MemberFailed"), id="one closed without its commit"),
        pytest.param(listing(LANDED, CLOSING), "Running", ("False", "InProgress"), id="one closed, whose landing is not yet observed"),
        pytest.param(listing(LANDED, NO_COMMIT_FAILED), "Failed", ("False", "MemberFailed"), id="one closed as failure"),
        pytest.param(listing(LANDED, GIVEN_UP), "Failed", ("False", "MemberFailed"), id="one given up, nothing else to do"),
        pytest.param(listing(GIVEN_UP, BEHIND), "Failed", ("False", "MemberFailed"), id="the rest waits for one given up"),
        pytest.param(listing(GIVEN_UP, build.bead("gp-3", phase="Ready")), "Running", ("False", "InProgress"), id="others may go on"),
        pytest.param(
            listing(GIVEN_UP, build.bead("gp-3", phase="Ready"), failurePolicy="Stop"),
            "Failed",
            ("False", "MemberFailed"),
            id="one failed and the policy is Stop",
        ),
        pytest.param(listing(READY, paused=True), "Paused", ("False", "Paused"), id="paused"),
        pytest.param(listing(LANDED, paused=True), "Landed", ("True", "AllDone"), id="paused when all was done"),
        pytest.param(listing(READY, cancelled=True), "Cancelled", ("False", "Cancelled"), id="cancelled"),
    ],
)
def test_the_phase_follows_from_the_members(what: ConvoySeen, phase: str, landed: tuple[str, str]) -> None:
    status = status_of(what)
    assert (status.phase, said(status, "Landed")) == (phase, landed)


def test_a_landed_convoy_runs_again_when_a_member_reopens() -> None:
    landed = dataclasses.replace(STARTED, phase="Landed", landedTime=NOON_TEXT)
    subject = build.convoy(beads=["gp-2"], status=landed)
    status = status_of(seen(subject, READY))
    assert (status.phase, status.landedTime) == ("Running", "")


def test_a_convoy_whose_only_member_is_missing_does_not_land() -> None:
    status = status_of(seen(build.convoy(beads=["gp-9"], status=STARTED)))
    assert (status.phase, status.counts.missing, status.progress) == ("Running", 1, "0/1")
    assert [(reason.beadName, reason.reason) for reason in status.reasons] == [("gp-9", "UnknownDependency")]
    assert said(status, "Progressing") == ("False", "MembersWaiting")


def test_members_are_counted_by_phase() -> None:
    counts = status_of(listing(LANDED, GIVEN_UP, BEHIND, SKIPPED_AS_FOURTH, build.bead("gp-5", state="deferred", phase="Deferred"))).counts
    assert (counts.total, counts.done, counts.landed, counts.skipped) == (5, 2, 1, 1)
    assert (counts.failed, counts.blocked, counts.deferred) == (1, 1, 1)


SKIPPED_AS_FOURTH = build.bead("gp-4", state="closed", closeReason="skipped: x", phase="Closed")


def test_waves_follow_the_dependencies() -> None:
    beads = [
        build.bead(name_of("a"), landed=True),
        build.bead(name_of("b"), waits_for=[name_of("a")]),
        build.bead(name_of("c"), waits_for=[name_of("a")]),
        build.bead(name_of("d"), waits_for=[name_of("b"), name_of("c")]),
    ]
    status = status_of(seen(build.convoy(templates=DIAMOND), *beads))
    assert status.waves == [Wave(total=1, done=1), Wave(total=2, done=0), Wave(total=1, done=0)]
    assert status.progress == "1/4"


def test_the_last_wave_stands_for_all_later_ones() -> None:
    chain = [build.bead("gp-0")] + [build.bead(f"gp-{number}", waits_for=[f"gp-{number - 1}"]) for number in range(1, 100)]
    waves = status_of(listing(*chain)).waves
    assert (len(waves), waves[-1].total, sum(wave.total for wave in waves)) == (64, 37, 100)


def test_counts_are_a_roll_up() -> None:
    (action,) = [action for action in convoy.decide(listing(WORKING), NOON) if isinstance(action, SetStatus)]
    assert action.roll_up


def test_a_member_that_is_not_startable_for_a_reason_of_its_own_is_named() -> None:
    held = build.condition("Startable", "False", "UnknownDependency", "depends on gp-zz9")
    status = status_of(listing(build.bead("gp-2", phase="Blocked", status={"conditions": [held]})))
    assert [(reason.beadName, reason.reason) for reason in status.reasons] == [("gp-2", "UnknownDependency")]


def test_members_that_failed_are_named_before_those_that_merely_wait() -> None:
    held = build.bead("gp-1", phase="Blocked", status={"conditions": [build.condition("Startable", "False", "UnknownDependency", "no")]})
    status = status_of(listing(held, GIVEN_UP, build.bead("gp-3", landed=True), build.bead("gp-4", phase="Ready")))
    assert [(reason.beadName, reason.reason) for reason in status.reasons] == [
        ("gp-2", "AttemptsExhausted"),
        ("gp-1", "UnknownDependency"),
    ]


@pytest.mark.parametrize(
    ("what", "progressing"),
    [
        pytest.param(listing(LANDED, WORKING), ("True", "InProgress"), id="one is at work"),
        pytest.param(listing(LANDED, build.bead("gp-2", phase="Deferred", state="deferred")), ("False", "MembersWaiting"), id="none moves"),
        pytest.param(listing(LANDED), ("False", "AllDone"), id="landed"),
        pytest.param(listing(READY, paused=True), ("False", "Paused"), id="paused"),
        pytest.param(listing(GIVEN_UP), ("False", "MemberFailed"), id="failed"),
        pytest.param(
            listing(build.bead("gp-2", phase="Ready", status={"conditions": [build.condition("Progressing", "False", "NoCapacity")]})),
            ("False", "MembersWaiting"),
            id="one is ready and waits for a free agent",
        ),
    ],
)
def test_a_convoy_makes_progress_while_a_member_moves(what: ConvoySeen, progressing: tuple[str, str]) -> None:
    assert said(status_of(what), "Progressing") == progressing


def test_a_failed_convoy_says_so_to_tools_and_names_who_failed() -> None:
    failed = [build.bead(f"gp-{number}", phase="Failed") for number in range(7)]
    status = status_of(listing(*failed))
    (stalled,) = [condition for condition in status.conditions if condition.type == "Stalled"]
    assert stalled.message == "0 of 7 done; gp-0, gp-1, gp-2, gp-3, gp-4 and 2 more did not succeed: retry, reopen or cancel"
    retried = build.convoy(beads=["gp-2"], status=status)
    assert said(status_of(seen(retried, READY)), "Stalled") == ("", "")


def test_a_missing_member_is_not_what_a_convoy_fails_of() -> None:
    what = seen(build.convoy(beads=["gp-9", "gp-2"], status=STARTED, failurePolicy="Stop"), READY)
    assert status_of(what).phase == "Running"


def test_times_are_told_once() -> None:
    what = listing(LANDED)
    told = dataclasses.replace(what, convoy=dataclasses.replace(what.convoy, status=dataclasses.replace(STARTED, startTime="")))
    (first,) = [action.status for action in convoy.decide(told, NOON) if isinstance(action, SetStatus)]
    assert (first.startTime, first.landedTime) == (NOON_TEXT, NOON_TEXT)
    again = dataclasses.replace(what, convoy=dataclasses.replace(what.convoy, status=first))
    (second,) = [action.status for action in convoy.decide(again, NOON + 60) if isinstance(action, SetStatus)]
    assert second == first


def test_a_cancelled_convoy_makes_no_beads() -> None:
    what = seen(build.convoy(templates=DIAMOND, cancelled=True))
    assert created(convoy.decide(what, NOON)) == {}
    assert status_of(what).phase == "Cancelled"


def test_a_refusal_is_told_by_an_event_once() -> None:
    refused = build.convoy(status=status_of(seen(build.convoy())))
    assert [action for action in convoy.decide(seen(refused), NOON) if isinstance(action, Emit)] == []
    other = build.convoy(templates=[build.template("a", "a")], status=refused.status)
    assert [action.reason for action in convoy.decide(seen(other), NOON) if isinstance(action, Emit)] == ["Cycle"]


def test_good_and_bad_news_are_told_as_such() -> None:
    told = [
        action.type for what in (listing(LANDED), listing(GIVEN_UP)) for action in convoy.decide(what, NOON) if isinstance(action, Emit)
    ]
    assert told == ["Normal", "Warning"]


def test_landing_is_told_by_an_event_once() -> None:
    first = convoy.decide(listing(LANDED), NOON)
    assert [action.reason for action in first if isinstance(action, Emit)] == ["AllDone"]
    told = build.convoy(beads=["gp-1"], status=status_of(listing(LANDED)))
    assert [action for action in convoy.decide(seen(told, LANDED), NOON) if isinstance(action, Emit)] == []


MEMBERS = st.builds(
    build.bead,
    st.sampled_from(["gp-1", "gp-2", "gp-3"]),
    state=st.sampled_from(["open", "closed"]),
    closeReason=st.sampled_from(["", "landed x", "failed", "skipped: gp-9 did not fail"]),
    delivery=st.sampled_from(["Commit", "None"]),
    phase=st.sampled_from(["", "Blocked", "Ready", "Working", "Submitted", "Failed", "Closed", "Landed"]),
    status=st.builds(dict, conditions=st.lists(st.just(build.condition("Landed")), max_size=1)),
    dependencies=st.lists(st.builds(Dependency, id=st.sampled_from(["gp-1", "gp-2", "gp-9"])), max_size=2),
)


@given(st.lists(MEMBERS, max_size=3, unique_by=lambda bead: bead.metadata.name), st.booleans())
def test_a_convoy_never_lands_with_an_unlanded_commit_member(members: list[Bead], has_missing: bool) -> None:
    names = [bead.metadata.name for bead in members] + (["gp-8"] if has_missing else [])
    status = status_of(seen(build.convoy(beads=names, status=STARTED), *members))
    if status.phase == "Landed":
        assert members
        assert not has_missing
        assert all(outcomes.is_landed(bead) or outcomes.is_skipped(bead) or bead.spec.delivery == "None" for bead in members)
        assert not all(outcomes.is_skipped(bead) for bead in members)
    assert (said(status, "Landed")[0] == "True") == (status.phase == "Landed")
