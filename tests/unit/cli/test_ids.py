"""Bead IDs."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gastown.cli.bd import ids


def test_an_id_is_the_prefix_and_a_few_digits() -> None:
    assert re.fullmatch(r"gp-[0-9a-z]{4}", ids.hash_id("gp", "Title", "", "ada", 1, 0, 4))


def test_everything_that_tells_two_beads_apart_changes_the_id() -> None:
    same = ("gp", "Title", "Text", "ada", 1, 0, 8)
    others = [("gp", "Other", "Text", "ada", 1, 0, 8), ("gp", "Title", "Text", "ada", 2, 0, 8), ("gp", "Title", "Text", "ada", 1, 1, 8)]
    assert len({ids.hash_id(*same), *(ids.hash_id(*other) for other in others)}) == 4
    assert ids.hash_id(*same) == ids.hash_id(*same)


@pytest.mark.parametrize(("beads", "digits"), [(0, 4), (900, 4), (1_000, 5), (5_000, 5), (6_000, 6), (100_000, 7)])
def test_ids_grow_with_the_town(beads: int, digits: int) -> None:
    assert ids.length_for(beads) == digits


@given(st.integers(0, 10_000_000))
def test_the_odds_of_any_two_meeting_stay_below_one_in_four(beads: int) -> None:
    assert beads**2 / 2 / 36 ** ids.length_for(beads) <= 0.25


@pytest.mark.parametrize(
    ("siblings", "child"),
    [
        pytest.param([], "gp-1.1", id="the first"),
        pytest.param(["gp-1.1", "gp-1.2"], "gp-1.3", id="the next"),
        pytest.param(["gp-1.7"], "gp-1.8", id="after a gap"),
        pytest.param(["gp-1.1.4", "gp-1.x", "gp-10.9", "gp-other"], "gp-1.1", id="grandchildren and strangers do not count"),
    ],
)
def test_children_are_numbered(siblings: list[str], child: str) -> None:
    assert ids.child_id("gp-1", siblings) == child
