"""Convoys nobody means well with: rings of any length, thousands of members, names that are taken; each is told, none takes long."""

from __future__ import annotations

import dataclasses
import json

import pytest

from gastown.actions import Create, SetStatus, Wake
from gastown.api import conditions, labels
from gastown.api.bead import Bead, Dependency, DependencyOutcome
from gastown.api.codec import to_dict
from gastown.api.convoy import Convoy, ConvoyStatus
from gastown.api.meta import Condition
from gastown.api.names import convoy_bead_name
from gastown.decide import convoy, graph
from gastown.decide.convoy import ConvoySeen
from support import build
from support.build import NOON

MEMBERS = 5000


def told(seen: ConvoySeen) -> ConvoyStatus:
    (action,) = [action for action in convoy.decide(seen, NOON) if isinstance(action, SetStatus)]
    assert isinstance(action.status, ConvoyStatus)
    return action.status


def ready(status: ConvoyStatus) -> Condition:
    found = conditions.find_condition(status.conditions, conditions.READY)
    assert found is not None
    return found


def listed(members: list[Bead]) -> ConvoySeen:
    names = [bead.metadata.name for bead in members]
    return ConvoySeen(build.convoy(beads=names), {bead.metadata.name: bead for bead in members}, {"greeter": build.rig()})


def waiting(name: str, *others: str, phase: str = "Blocked") -> Bead:
    outcomes = [DependencyOutcome(id=other, type="blocks", outcome="Pending") for other in others]
    return build.bead(name, waits_for=others, phase=phase, status={"dependencies": outcomes})


def size(status: ConvoyStatus) -> int:
    return len(json.dumps(to_dict(status)))


# Rings


@pytest.mark.parametrize(
    ("length", "named"), [(2, "gp-0 -> gp-1 -> gp-0"), (20, "gp-18 -> gp-19 -> gp-0"), (MEMBERS, "gp-9 -> (4980 more) -> gp-4990")]
)
def test_a_ring_is_named_whatever_its_length_and_its_remedy_is_not_cut_off(length: int, named: str) -> None:
    status = told(listed([waiting(f"gp-{number}", f"gp-{(number + 1) % length}") for number in range(length)]))
    assert (status.phase, ready(status).reason) == ("Validating", "Cycle")
    assert named in ready(status).message
    assert ready(status).message.endswith("remove one of these dependencies")
    assert size(status) < 4000


def test_two_hundred_templates_in_a_ring_are_named_in_short() -> None:
    templates = [build.template(f"{'t' * 58}-{number}", f"{'t' * 58}-{(number + 1) % 200}") for number in range(200)]
    status = told(ConvoySeen(build.convoy(templates=templates), {}, {"greeter": build.rig()}))
    assert ready(status).reason == "Cycle"
    assert ready(status).message.endswith("remove one of these from dependsOn")
    assert size(status) < 8000


def test_the_middle_of_a_long_ring_is_only_counted() -> None:
    assert graph.ring_text(["a"]) == "a -> a"
    assert graph.ring_text([str(number) for number in range(23)]).split(" -> ")[9:12] == ["9", "(3 more)", "13"]


# Thousands


def test_what_waits_for_a_failed_bead_through_thousands_of_others_is_found_in_one_pass() -> None:
    members = [waiting(f"gp-{number}", f"gp-{number + 1}") for number in range(MEMBERS - 1)]
    status = told(listed([*members, waiting(f"gp-{MEMBERS - 1}", phase="Failed")]))
    assert (status.phase, status.counts.failed, len(status.waves)) == ("Failed", 1, 64)
    assert sum(wave.total for wave in status.waves) == MEMBERS
    assert size(status) < 4000


def test_thousands_of_members_that_do_not_exist_are_counted_and_the_first_are_named() -> None:
    names = [f"gp-{number}" for number in range(MEMBERS)]
    status = told(ConvoySeen(build.convoy(beads=names), {}, {"greeter": build.rig()}))
    assert (status.phase, status.counts.missing, len(status.reasons)) == ("Running", MEMBERS, 32)
    assert size(status) < 6000


# Names


TEMPLATES = [build.template(f"t{number}") for number in range(200)]


def bead_name(template: str) -> str:
    return convoy_bead_name("gp", "uid-moods", template)


def made(subject: Convoy) -> dict[str, Bead]:
    """The beads of a convoy's templates, as its creations say."""
    actions = [
        action.object for action in convoy.decide(ConvoySeen(subject, {}, {"greeter": build.rig()}), NOON) if isinstance(action, Create)
    ]
    bodies = [dict(body) for body in actions if isinstance(body, dict)]
    return {body["metadata"]["name"]: build.bead(body["metadata"]["name"], createdBy=body["spec"]["createdBy"]) for body in bodies}


def created(seen: ConvoySeen) -> list[str]:
    found = [dict(action.object) for action in convoy.decide(seen, NOON) if isinstance(action, Create) and isinstance(action.object, dict)]
    return [bead["metadata"]["annotations"][labels.LOCAL_NAME] for bead in found]


def test_two_hundred_templates_applied_again_in_any_order_make_nothing_twice() -> None:
    subject = build.convoy(templates=TEMPLATES)
    beads = made(subject)
    assert len(beads) == 200
    again = build.at_generation(build.convoy(templates=[*TEMPLATES[::-1]]), 2)
    assert created(ConvoySeen(again, beads, {"greeter": build.rig()})) == []
    assert told(ConvoySeen(again, beads, {"greeter": build.rig()})).counts.total == 200


def test_a_template_that_is_changed_leaves_its_bead_and_one_that_is_renamed_makes_another() -> None:
    beads = made(build.convoy(templates=TEMPLATES[:2]))
    changed = build.at_generation(build.convoy(templates=[build.template("t0", title="Else"), build.template("other")]), 2)
    assert created(ConvoySeen(changed, beads, {"greeter": build.rig()})) == ["other"]


def test_a_template_that_is_taken_out_leaves_a_bead_that_no_longer_counts() -> None:
    beads = made(build.convoy(templates=TEMPLATES[:3]))
    beads = {name: dataclasses.replace(bead, status=dataclasses.replace(bead.status, phase="Ready")) for name, bead in beads.items()}
    fewer = build.at_generation(build.convoy(templates=TEMPLATES[:2]), 2)
    status = told(ConvoySeen(fewer, beads, {"greeter": build.rig()}))
    assert (status.counts.total, status.counts.ready, status.progress) == (2, 2, "0/2")


def test_a_bead_that_somebody_else_made_under_the_name_of_a_template_is_no_member() -> None:
    foreign = build.bead(
        bead_name("t0"), createdBy="greeter-nux", delivery="None", state="closed", meta={"labels": {labels.CONVOY: "moods"}}
    )
    seen = ConvoySeen(build.convoy(templates=TEMPLATES[:1]), {foreign.metadata.name: foreign}, {"greeter": build.rig()})
    status = told(seen)
    assert (status.phase, ready(status).reason) == ("Validating", "NameTaken")
    assert ready(status).message == (
        f"template t0: bead {foreign.metadata.name} was made by greeter-nux already; delete it, or give the template another name"
    )
    assert [action for action in convoy.decide(seen, NOON) if isinstance(action, Wake)], "its going would tell nobody"


def test_a_bead_that_only_carries_the_label_of_a_convoy_neither_counts_nor_costs() -> None:
    beads = made(build.convoy(templates=TEMPLATES[:1]))
    stranger = build.bead("gp-zz", phase="Working", meta={"labels": {labels.CONVOY: "moods"}}, status={"usage": build.bead().status.usage})
    stranger = dataclasses.replace(
        stranger, status=dataclasses.replace(stranger.status, usage=dataclasses.replace(stranger.status.usage, sessions=7))
    )
    status = told(ConvoySeen(build.convoy(templates=TEMPLATES[:1]), {**beads, "gp-zz": stranger}, {"greeter": build.rig()}))
    assert (status.counts.total, status.usage.sessions) == (1, 0)
    assert conditions.is_false(status.conditions, conditions.PROGRESSING)


def test_two_templates_of_one_name_are_refused() -> None:
    status = told(ConvoySeen(build.convoy(templates=[*TEMPLATES[:2], TEMPLATES[0]]), {}, {"greeter": build.rig()}))
    assert (ready(status).reason, "t0" in ready(status).message) == ("DuplicateName", True)


def test_a_dependency_of_a_template_on_thousands_of_edges_is_still_sound() -> None:
    members = [waiting(f"gp-{number}", *(f"gp-{other}" for other in range(max(0, number - 20), number))) for number in range(1000)]
    dense = [
        dataclasses.replace(bead, spec=dataclasses.replace(bead.spec, dependencies=[*bead.spec.dependencies, Dependency(id="hq-x")]))
        for bead in members
    ]
    assert told(listed(dense)).phase == "Running"
