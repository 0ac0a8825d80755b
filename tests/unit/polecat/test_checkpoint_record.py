"""What a checkpoint says about itself: whatever names it holds, it is read as it was written."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gastown.polecat.checkpoint_record import (
    BRANCH,
    INDEX,
    MERGE,
    NAMED_LIMIT,
    STASH,
    TIP,
    Kept,
    Record,
    bounded,
    from_message,
    notes_for_agent,
    to_message,
)

ONE = "1" * 40
PLAIN = Record(agent="greeter-furiosa", bead="gp-a3f8")
# File names are bytes: those that are no UTF-8 come as lone surrogates.
NAMES = st.text(st.characters(exclude_categories=()), min_size=1, max_size=30)
RECORDS = st.builds(
    Record,
    agent=st.just("greeter-furiosa"),
    bead=st.sampled_from(["gp-a3f8", "gp-a3f8.1.2"]),
    kept=st.lists(st.builds(Kept, st.sampled_from([INDEX, TIP, BRANCH, STASH, MERGE]), st.just(ONE), NAMES), max_size=4).map(tuple),
    under_way=st.lists(st.sampled_from(["merge", "rebase", "bisect"]), max_size=2, unique=True).map(tuple),
    left_out=st.lists(NAMES, max_size=4).map(tuple),
    left_out_more=st.integers(0, 10_000),
    ignored=st.lists(NAMES, max_size=4).map(tuple),
    ignored_more=st.integers(0, 10_000),
)


@given(RECORDS, st.integers(0, 100))
def test_what_is_written_is_read_again_whatever_the_names_are(record: Record, number: int) -> None:
    message = to_message(record, number, 1000)
    assert message.isascii()
    assert from_message(message) == record


@pytest.mark.parametrize(
    "message",
    [
        pytest.param("Fix the greeting\n", id="a subject"),
        pytest.param("Fix\n\nGastown-Checkpoint: a/b\n\nSigned-off-by: x\n", id="a line that is not in the last paragraph"),
        pytest.param("Fix\n\nGastown-Checkpoint: nobody\n", id="no bead"),
        pytest.param("", id="nothing"),
    ],
)
def test_other_commits_are_no_checkpoints(message: str) -> None:
    assert from_message(message) is None


def test_lines_that_are_not_of_its_form_are_passed_over() -> None:
    deep = "[" * 100_000
    lines = ["Gastown-Kept: index short", "Gastown-Kept: what " + ONE, f"Gastown-Left-Out: {deep}", "Gastown-Left-Out-And-More: many", "x"]
    assert from_message("Checkpoint\n\nGastown-Checkpoint: greeter-furiosa/gp-a3f8\n" + "\n".join(lines) + "\n") == PLAIN


def test_a_long_list_is_cut_and_the_rest_counted() -> None:
    names, more = bounded(f"file-{number}" for number in range(NAMED_LIMIT + 7))
    assert (len(names), more) == (NAMED_LIMIT, 7)
    assert bounded(["x" * 4096])[0] == ("x" * 300,)


def test_an_ordinary_checkpoint_has_nothing_to_tell() -> None:
    assert notes_for_agent(PLAIN, ONE) == []


def test_the_agent_is_told_at_most_twenty_names_and_how_many_more_there_are() -> None:
    record = Record(agent="a", bead="b", left_out=tuple(f"file-{number}" for number in range(NAMED_LIMIT)), left_out_more=7)
    (note,) = notes_for_agent(record, ONE)
    assert note.endswith("file-18, file-19 and 37 more.")


def test_every_kind_of_thing_that_is_not_as_it_was_is_told() -> None:
    kept = (Kept(TIP, ONE, "polecat/a/b"), Kept(BRANCH, ONE, "idea"), Kept(STASH, ONE, "On idea: x"))
    record = Record(agent="a", bead="b", kept=kept, under_way=("rebase",), left_out=("core",), ignored=("build/",))
    text = "\n".join(notes_for_agent(record, ONE))
    for words in ("rebase was under way", "git show 111111111111", "here again: idea", "git stash list", "lost", "core", "build/"):
        assert words in text
    assert json.dumps(text)
