"""What both clients send again, and after how long."""

from __future__ import annotations

import pytest

from gastown.kube.errors import ApiError, Conflict, Forbidden, TooManyRequests, Unavailable
from gastown.kube.retry import NO_RETRY, RetryPolicy

POLICY = RetryPolicy(attempts=5, first_seconds=1.0, longest_seconds=8.0)


def unavailable(*, may_have_happened: bool) -> Unavailable:
    return Unavailable(503, "Unavailable", "told", "patch", "/x", may_have_happened=may_have_happened)


@pytest.mark.parametrize(
    ("error", "attempt", "repeatable", "expected"),
    [
        pytest.param(unavailable(may_have_happened=True), 1, True, 1.0, id="a repeatable request waits the first back-off"),
        pytest.param(unavailable(may_have_happened=True), 3, True, 4.0, id="the back-off doubles"),
        pytest.param(unavailable(may_have_happened=True), 5, True, None, id="the attempts are used up"),
        pytest.param(unavailable(may_have_happened=True), 1, False, None, id="a create that may have happened is not sent again"),
        pytest.param(unavailable(may_have_happened=False), 1, False, 1.0, id="a create that never left is sent again"),
        pytest.param(TooManyRequests("told", "create", "/x", 3.0), 1, False, 3.0, id="the server's wish counts"),
        pytest.param(TooManyRequests("told", "create", "/x", 600.0), 1, False, 8.0, id="but not for ever"),
        pytest.param(Conflict(409, "Conflict", "told", "patch", "/x"), 1, True, None, id="a conflict is the caller's"),
        pytest.param(Forbidden(403, "Forbidden", "told", "patch", "/x"), 1, True, None, id="a refusal is final"),
    ],
)
def test_wait_before_the_next_attempt(error: ApiError, attempt: int, repeatable: bool, expected: float | None) -> None:
    assert POLICY.wait_before_next(error, attempt, 60.0, 0.0, repeatable=repeatable) == expected


def test_a_wait_beyond_the_deadline_is_not_begun() -> None:
    assert POLICY.wait_before_next(unavailable(may_have_happened=True), 1, 0.9, 0.0, repeatable=True) is None


def test_the_dice_take_away_at_most_half_of_the_back_off() -> None:
    wait = POLICY.wait_before_next(unavailable(may_have_happened=True), 2, 60.0, 0.999, repeatable=True)
    assert wait is not None
    assert 1.0 < wait < 1.01


def test_no_retry_means_none() -> None:
    assert NO_RETRY.wait_before_next(unavailable(may_have_happened=False), 1, 60.0, 0.0, repeatable=True) is None
