"""Where is a bead's work on its way to main?"""

from __future__ import annotations

from typing import Any

import pytest

from gastown.api.bead import Bead, Rework
from gastown.api.merge_request import MergeRequest
from gastown.decide.delivery import Delivery, delivery_of, why_returned
from support import build
from support.build import HEAD, NOON, NOON_TEXT

EARLIER, LATER = "2025-06-15T15:00:00Z", "2025-06-15T16:00:00Z"
HELD = build.held_bead()


def request(head: str = HEAD, *, created: str = NOON_TEXT, **fields: Any) -> MergeRequest:
    return build.merge_request(head=head, meta={"creationTimestamp": created}, **fields)


def unpinned(reason: str, since: str = EARLIER) -> MergeRequest:
    return build.merge_request(status={"conditions": [build.condition("HeadPinned", "False", reason, since=since)]})


UNDER_WAY = request()
REJECTED = request("1" * 40, created=EARLIER, phase="Rejected")
CONFLICTED = request("2" * 40, created=LATER, phase="Conflicted")
SUPERSEDED = request("3" * 40, created=EARLIER, phase="Superseded")
FIRST_LANDED = request("4" * 40, created=EARLIER, phase="Landed", status={"landedCommit": "f" * 40})
LANDED = request("5" * 40, phase="Landed")
EMPTY = request("6" * 40, created=LATER, pinned=True, verified="False/EmptyChange")


@pytest.mark.parametrize(
    ("bead", "requests", "expected"),
    [
        pytest.param(HELD, (), Delivery(), id="nothing submitted"),
        pytest.param(HELD, (UNDER_WAY,), Delivery(current=UNDER_WAY), id="under way"),
        pytest.param(HELD, (request(phase="Held"),), Delivery(current=request(phase="Held")), id="held back by a person, yet under way"),
        pytest.param(build.bead(), (UNDER_WAY,), Delivery(), id="unverified request of a session that lost the bead"),
        pytest.param(build.held_bead(agent_name="greeter-max"), (UNDER_WAY,), Delivery(), id="unverified request of a former holder"),
        pytest.param(build.bead(), (request(verified="True"),), Delivery(current=request(verified="True")), id="verified, nobody holds it"),
        pytest.param(HELD, (request(verified="False/WrongAgent"),), Delivery(), id="refused"),
        pytest.param(HELD, (SUPERSEDED,), Delivery(), id="superseded: neither under way nor back"),
        pytest.param(HELD, (REJECTED,), Delivery(returned=REJECTED), id="rejected"),
        pytest.param(HELD, (CONFLICTED,), Delivery(returned=CONFLICTED), id="conflicted"),
        pytest.param(HELD, (EMPTY,), Delivery(returned=EMPTY), id="changes nothing"),
        pytest.param(HELD, (CONFLICTED, REJECTED), Delivery(returned=CONFLICTED), id="the newest return counts"),
        pytest.param(HELD, (UNDER_WAY, REJECTED), Delivery(current=UNDER_WAY), id="rework of what was rejected is under way"),
        pytest.param(HELD, (UNDER_WAY, SUPERSEDED, LANDED), Delivery(UNDER_WAY, landed=(LANDED,)), id="landed while another is under way"),
        pytest.param(HELD, (LANDED, CONFLICTED), Delivery(landed=(LANDED,)), id="landed: what came back does not matter"),
        pytest.param(HELD, (LANDED, FIRST_LANDED), Delivery(landed=(FIRST_LANDED, LANDED)), id="two landings, oldest first"),
        pytest.param(HELD, (request(phase="Landed", status={"landedCommit": ""}),), Delivery(), id="landed, but nobody says as what"),
        pytest.param(build.bead(landed=True), (LANDED,), Delivery(), id="landing is recorded already"),
    ],
)
def test_the_requests_of_a_bead_tell_where_its_work_is(bead: Bead, requests: tuple[MergeRequest, ...], expected: Delivery) -> None:
    for order in (requests, requests[::-1]):
        assert names(delivery_of(bead, order, NOON)) == names(expected)


def names(delivery: Delivery) -> tuple[str, str, list[str]]:
    """What a delivery consists of, by name."""
    current, returned = delivery.current, delivery.returned
    return (
        current.metadata.name if current is not None else "",
        returned.metadata.name if returned is not None else "",
        [request.metadata.name for request in delivery.landed],
    )


STRANGERS = [
    pytest.param({"conditions": [build.condition("HeadPinned", "False", "HeadNotFound", since=EARLIER)]}, id="whose head nobody pushed"),
    pytest.param({"conditions": [build.condition("Verified", "False", "WrongAgent")]}, id="that was refused"),
]


@pytest.mark.parametrize("status", STRANGERS)
def test_a_request_of_an_agent_that_never_held_the_bead_neither_costs_rework_nor_hides_what_came_back(status: dict[str, Any]) -> None:
    strangers = build.merge_request(agent_name="greeter-max", head="9" * 40, meta={"creationTimestamp": LATER}, status=status)
    assert names(delivery_of(HELD, (strangers,), NOON)) == ("", "", [])
    assert names(delivery_of(HELD, (strangers, REJECTED), NOON)) == ("", REJECTED.metadata.name, [])


def test_a_return_counts_until_it_is_recorded() -> None:
    recorded = build.held_bead(status={"lastRework": Rework(mergeRequestName=CONFLICTED.metadata.name)})
    assert names(delivery_of(recorded, (CONFLICTED,), NOON)) == ("", "", [])
    assert names(delivery_of(recorded, (CONFLICTED, REJECTED), NOON)) == ("", "", [])


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        pytest.param(UNDER_WAY, "", id="under way"),
        pytest.param(REJECTED, "Rejected", id="rejected"),
        pytest.param(CONFLICTED, "Conflicted", id="conflicted"),
        pytest.param(SUPERSEDED, "", id="superseded by another that counts in its place"),
        pytest.param(EMPTY, "EmptyChange", id="changes nothing"),
        pytest.param(request(verified="False/WrongAgent"), "", id="refused, which is no fault of the work"),
        pytest.param(unpinned("HeadNotFound"), "HeadNotFound", id="head never found"),
        pytest.param(unpinned("HeadNotOnBranch"), "HeadNotOnBranch", id="head on another branch"),
        pytest.param(unpinned("HeadNotFound", since=NOON_TEXT), "", id="head may yet be found"),
        pytest.param(unpinned("HeadNotFound", since="soon"), "", id="since a time that is none"),
    ],
)
def test_work_goes_back_for_a_reason(what: MergeRequest, expected: str) -> None:
    assert why_returned(what, NOON + 60) == expected


def test_a_head_not_found_for_a_minute_stops_being_under_way() -> None:
    what = unpinned("HeadNotFound", since=NOON_TEXT)
    assert names(delivery_of(HELD, (what,), NOON + 60)) == (what.metadata.name, "", [])
    assert names(delivery_of(HELD, (what,), NOON + 61)) == ("", what.metadata.name, [])
