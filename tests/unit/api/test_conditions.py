"""Reading and replacing one condition in a list."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gastown.api import conditions
from gastown.api.conditions import find_condition, is_false, is_true, with_condition, without_condition
from gastown.api.meta import Condition

NOON = "2026-01-01T12:00:00Z"
ONE = "2026-01-01T13:00:00Z"


def startable(status: str = "True", reason: str = "Startable", message: str = "", since: str = NOON, generation: int = 1) -> Condition:
    return Condition(
        type="Startable", status=status, reason=reason, message=message, lastTransitionTime=since, observedGeneration=generation
    )


READY = Condition(type="Ready", status="True", reason="Accepted", lastTransitionTime=NOON)


def test_a_condition_that_is_absent_is_neither_true_nor_false() -> None:
    assert find_condition([READY], "Landed") is None
    assert not is_true([READY], "Landed")
    assert not is_false([READY], "Landed")


@pytest.mark.parametrize(("status", "true", "false"), [("True", True, False), ("False", False, True), ("Unknown", False, False)])
def test_a_condition_is_true_or_false_by_its_status(status: str, true: bool, false: bool) -> None:
    assert is_true([startable(status)], "Startable") is true
    assert is_false([startable(status)], "Startable") is false


def test_a_new_condition_is_added_behind_the_others_with_the_time_of_now() -> None:
    assert with_condition([READY], startable(since=""), ONE) == [READY, startable(since=ONE)]


def test_another_reason_with_the_same_status_keeps_the_time() -> None:
    before = [startable("False", "Blocked"), READY]
    assert with_condition(before, startable("False", "Deferred"), ONE) == [startable("False", "Deferred", since=NOON), READY]


def test_another_status_takes_the_time_of_now() -> None:
    assert with_condition([startable("False", "Blocked")], startable("True"), ONE) == [startable("True", since=ONE)]


def test_a_message_beyond_the_limit_is_cut() -> None:
    (after,) = with_condition([], startable(message="x" * 5000), NOON)
    assert after.message == "x" * conditions.MESSAGE_LIMIT


def test_a_condition_is_taken_out_and_the_others_stay() -> None:
    assert without_condition([startable(), READY], "Startable") == [READY]


statuses = st.sampled_from(["True", "False", "Unknown"])
any_condition = st.builds(
    Condition,
    type=st.sampled_from(["Ready", "Startable", "Landed"]),
    status=statuses,
    reason=st.sampled_from(["Accepted", "Blocked"]),
    message=st.text(max_size=5),
    lastTransitionTime=st.sampled_from([NOON, ONE]),
    observedGeneration=st.integers(0, 3),
)
lists = st.lists(any_condition, unique_by=lambda condition: condition.type)


@given(lists, any_condition)
def test_law_deciding_twice_writes_once(before: list[Condition], wanted: Condition) -> None:
    once = with_condition(before, wanted, NOON)
    assert with_condition(once, wanted, ONE) == once


@given(lists, any_condition)
def test_law_other_conditions_stay_as_they_are_and_each_type_is_there_once(before: list[Condition], wanted: Condition) -> None:
    after = with_condition(before, wanted, NOON)
    assert without_condition(after, wanted.type) == without_condition(before, wanted.type)
    assert len({condition.type for condition in after}) == len(after)


@given(lists, any_condition)
def test_law_the_time_moves_only_with_the_status(before: list[Condition], wanted: Condition) -> None:
    now = "2026-01-01T14:00:00Z"
    old, new = find_condition(before, wanted.type), find_condition(with_condition(before, wanted, now), wanted.type)
    assert new is not None
    moved = old is None or old.status != wanted.status
    assert (new.lastTransitionTime == now) is moved
