"""May this MergeRequest enter the merge queue?"""

from __future__ import annotations

from typing import Any

import pytest

from gastown.actions import Apply
from gastown.decide import merge_request
from gastown.decide.merge_request import MergeRequestSeen
from support import build
from support.build import NOON, NOON_TEXT

HELD = build.held_bead()
NEWER = build.merge_request(head="b" * 40, meta={"creationTimestamp": "2025-06-15T16:00:00Z"})
NEWEST = build.merge_request(head="1" * 40, meta={"creationTimestamp": "2025-06-15T17:00:00Z"})
OLDER = build.merge_request(head="e" * 40, meta={"creationTimestamp": "2025-06-15T14:00:00Z"})
# Of the same second, and by its name the later one.
CAME_BACK = build.merge_request(head="f" * 40, phase="Conflicted", meta={"creationTimestamp": NOON_TEXT})
OF_ANOTHER = build.merge_request(agent_name="greeter-max", head="f" * 40, meta={"creationTimestamp": "2025-06-15T16:00:00Z"})


def verified(seen: MergeRequestSeen) -> dict[str, Any] | None:
    """The condition applied, or None."""
    actions = merge_request.decide(seen, NOON)
    if not actions:
        return None
    (action,) = actions
    assert isinstance(action, Apply)
    assert isinstance(action.object, dict)
    assert (action.manager, action.subresource) == ("gastown-operator", "status")
    (condition,) = action.object["status"]["conditions"]
    return dict(condition)


@pytest.mark.parametrize(
    ("request_", "bead", "others", "expected"),
    [
        pytest.param(build.merge_request(pinned=True), HELD, (), ("True", "Verified"), id="held by its agent, something changed"),
        pytest.param(build.merge_request(pinned=True), build.bead(), (), ("False", "WrongAgent"), id="nobody holds the bead"),
        pytest.param(
            build.merge_request(pinned=True), build.held_bead(agent_name="greeter-max"), (), ("False", "WrongAgent"), id="another holds it"
        ),
        pytest.param(build.merge_request(pinned=True), None, (), ("False", "UnknownBead"), id="bead does not exist"),
        pytest.param(build.merge_request(pinned=True), build.bead(state="closed"), (), ("False", "BeadClosed"), id="bead is closed"),
        pytest.param(
            build.merge_request(pinned=True, status={"changedPaths": 0}), HELD, (), ("False", "EmptyChange"), id="nothing changed"
        ),
        pytest.param(build.merge_request(pinned=True), HELD, (NEWER,), ("False", "Superseded"), id="there is a newer one"),
        pytest.param(build.merge_request(pinned=True), HELD, (OLDER,), ("True", "Verified"), id="there is an older one"),
        pytest.param(build.merge_request(pinned=True), HELD, (CAME_BACK,), ("True", "Verified"), id="one of the same second came back"),
        pytest.param(build.merge_request(pinned=True), HELD, (OF_ANOTHER,), ("True", "Verified"), id="the newer one is another agent's"),
        pytest.param(
            build.merge_request(pinned=True, verified="True"),
            build.held_bead(agent_name="greeter-max"),
            (),
            ("False", "WrongAgent"),
            id="verified, then the bead went to another",
        ),
        pytest.param(
            build.merge_request(pinned=True, verified="False/WrongAgent"), HELD, (), ("True", "Verified"), id="refused, then bound again"
        ),
    ],
)
def test_verified_follows_from_api_facts(request_: Any, bead: Any, others: Any, expected: tuple[str, str]) -> None:
    condition = verified(MergeRequestSeen(request_, bead, others))
    assert condition is not None
    assert (condition["status"], condition["reason"]) == expected
    assert condition["lastTransitionTime"] == NOON_TEXT


@pytest.mark.parametrize(
    ("request_", "bead"),
    [
        pytest.param(build.merge_request(), HELD, id="head is not pinned yet"),
        pytest.param(build.merge_request(pinned=True, phase="Landed", verified="True"), build.bead(landed=True), id="landed"),
        pytest.param(build.merge_request(pinned=True, phase="Rejected", verified="True"), build.bead(), id="came back"),
        pytest.param(build.merge_request(pinned=True, meta={"deletionTimestamp": NOON_TEXT}), HELD, id="being deleted"),
    ],
)
def test_nothing_is_said_before_the_head_is_pinned_nor_when_all_is_over(request_: Any, bead: Any) -> None:
    assert verified(MergeRequestSeen(request_, bead)) is None


def test_the_newest_request_is_named_in_whichever_order_they_are_seen() -> None:
    for others in ((NEWER, NEWEST), (NEWEST, NEWER)):
        condition = verified(MergeRequestSeen(build.merge_request(pinned=True), HELD, others))
        assert condition is not None
        assert condition["message"] == f"{NEWEST.metadata.name} is newer"


@pytest.mark.parametrize(
    ("bead", "holder"), [pytest.param(build.bead(), "nobody", id="free"), pytest.param(build.held_bead(agent_name="ann"), "ann", id="held")]
)
def test_a_wrong_agent_is_told_who_holds_the_bead(bead: Any, holder: str) -> None:
    condition = verified(MergeRequestSeen(build.merge_request(pinned=True), bead))
    assert condition is not None
    assert condition["message"] == f"greeter-nux does not hold gp-1; {holder} does"


def test_a_verdict_outlives_the_binding() -> None:
    request = build.merge_request(pinned=True, verified="True/Verified")
    condition = verified(MergeRequestSeen(request, build.bead()))
    assert condition is None or condition["status"] == "True"


def test_saying_it_again_says_nothing() -> None:
    first = verified(MergeRequestSeen(build.merge_request(pinned=True), HELD))
    assert first is not None
    said = build.merge_request(pinned=True)
    said.status.conditions.append(build.condition("Verified", "True", first["reason"], first["message"]))
    assert verified(MergeRequestSeen(said, HELD)) is None
