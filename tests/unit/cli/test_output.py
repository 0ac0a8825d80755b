"""Tables and JSON: whole outputs."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gastown.cli import output
from gastown.cli.errors import CommandError

NOON = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


def test_columns_are_aligned_and_the_last_has_no_trailing_blanks() -> None:
    rows = [("gp-1", "Ready", "Short"), ("gp-a3f8.12", "Submitted", "Somewhat longer")]
    assert output.table(("ID", "PHASE", "TITLE"), rows) == (
        "ID          PHASE      TITLE\n"
        "gp-1        Ready      Short\n"
        "gp-a3f8.12  Submitted  Somewhat longer\n"
    )  # fmt: skip


def test_on_a_terminal_the_last_column_is_cut_to_the_width() -> None:
    text = output.table(("ID", "TITLE"), [("gp-1", "A title that is longer than the line")], width=20)
    assert text == "ID    TITLE\ngp-1  A title that…\n"
    assert all(len(line) <= 20 for line in text.splitlines())


def test_wide_and_combining_characters_keep_the_columns_straight() -> None:
    rows = [("日本", "x"), ("e\u0301a", "y"), ("abcd", "z")]
    assert output.table(("A", "B"), rows) == "A     B\n日本  x\ne\u0301a    y\nabcd  z\n"


def test_control_characters_of_a_title_are_shown_and_not_sent() -> None:
    assert output.table(("T",), [("\x1b[2Jtwo\nlines\x07\u202e",)]) == "T\n\\x1b[2Jtwo lines\\x07\\u202e\n"


def test_phases_are_painted_only_if_asked_for() -> None:
    assert output.table(("P",), [("Landed",)], color=True) == "P\n\x1b[32mLanded\x1b[0m\n"
    assert output.table(("P",), [("Landed",)]) == "P\nLanded\n"


@pytest.mark.parametrize(
    ("timestamp", "told"),
    [
        pytest.param("2026-01-01T11:59:15Z", "45s", id="seconds"),
        pytest.param("2026-01-01T11:58:31Z", "89s", id="below two minutes"),
        pytest.param("2026-01-01T11:00:00Z", "60m", id="minutes"),
        pytest.param("2025-12-31T12:00:00Z", "24h", id="hours"),
        pytest.param("2025-12-25T12:00:00Z", "7d", id="days"),
        pytest.param("2026-01-01T12:00:05Z", "0s", id="the server's clock is ahead"),
        pytest.param("", "", id="never"),
        pytest.param("yesterday", "?", id="no time at all"),
    ],
)
def test_ages_are_told_in_one_unit(timestamp: str, told: str) -> None:
    assert output.age(timestamp, NOON) == told


def test_an_error_says_what_where_and_what_next_and_json_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    error = CommandError("bead gp-zz9", "not found", remedy="look for it", exit_code=3, reason="NotFound", details="the log\n")
    output.print_error(error, as_json=True)
    captured = capsys.readouterr()
    assert captured.err == "the log\nerror: bead gp-zz9: not found; look for it\n"
    status = {"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "NotFound"}
    assert json.loads(captured.out) == {**status, "message": "bead gp-zz9: not found; look for it", "code": 3}


@given(st.lists(st.tuples(st.text(max_size=20), st.text(max_size=40)), max_size=5), st.integers(20, 60))
def test_no_text_whatever_breaks_out_of_its_row(rows: list[tuple[str, str]], width: int) -> None:
    text = output.table(("ID", "TITLE"), rows, width=width)
    assert text.count("\n") == len(rows) + 1
    assert "\x1b" not in text
