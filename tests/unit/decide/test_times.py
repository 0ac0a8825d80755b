"""Times are compared with care: clocks are off, and are set."""

from __future__ import annotations

import pytest

from gastown.decide.times import is_recent, time_text
from support.build import NOON


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        pytest.param(0.0, True, id="just now"),
        pytest.param(4.0, True, id="a moment ago"),
        pytest.param(6.0, False, id="long ago"),
        pytest.param(-1.0, True, id="a clock a second ahead"),
        pytest.param(-86400.0, False, id="written before the clock was set back by a day"),
    ],
)
def test_recent_is_what_lies_close_to_now_on_either_side(age: float, expected: bool) -> None:
    assert is_recent(time_text(NOON - age), 5.0, NOON) is expected


@pytest.mark.parametrize("text", ["", "yesterday"])
def test_what_is_no_time_is_not_recent(text: str) -> None:
    assert is_recent(text, 5.0, NOON) is False
