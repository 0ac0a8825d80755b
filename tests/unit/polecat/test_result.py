"""The termination message: always whole, always JSON, never too long."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gastown.polecat.result import MESSAGE_LIMIT_BYTES, Result, find_result, from_json, shortened, to_json, write_result

RESULT = Result(
    outcome="Submitted", reason="Submitted", message="fine", merge_request="gp-1-abc", head="a" * 40, exit_code=0, usage={"wallSeconds": 3}
)


def test_it_has_the_names_of_the_api() -> None:
    assert json.loads(to_json(RESULT)) == {
        "outcome": "Submitted", "reason": "Submitted", "message": "fine", "mergeRequest": "gp-1-abc", "head": "a" * 40,
        "checkpoint": "", "exitCode": 0, "usage": {"wallSeconds": 3},
    }  # fmt: skip


def test_of_a_long_message_the_cause_and_the_last_words_stay() -> None:
    message = json.loads(to_json(Result(outcome="Failed", reason="AgentFailed", message="cause " + "x" * 9000 + " last words")))["message"]
    assert message.startswith("cause ")
    assert message.endswith(" last words")
    assert "[...]" in message


@given(st.text(max_size=6000), st.integers(0, 255))
def test_it_is_never_too_long_and_reads_back(message: str, exit_code: int) -> None:
    result = Result(outcome="Failed", reason="AgentFailed", message=message, exit_code=exit_code)
    data = to_json(result)
    assert len(data) <= MESSAGE_LIMIT_BYTES
    read = from_json(data)
    assert read is not None
    assert (read.outcome, read.exit_code) == ("Failed", exit_code)
    if len(message) < 600:
        assert read.message == message


@given(st.text(max_size=500), st.integers(0, 500))
def test_shortened_keeps_the_limit(text: str, limit: int) -> None:
    assert len(shortened(text, limit)) <= max(limit, 0)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="half"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b'{"outcome": "Landed"}', id="no outcome of ours"),
        pytest.param(b"\xff", id="no text"),
    ],
)
def test_a_file_that_is_no_result_is_none(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "result").write_bytes(content)
    assert find_result(tmp_path / "result") is None


def test_fields_of_the_wrong_type_count_as_absent(tmp_path: Path) -> None:
    (tmp_path / "result").write_text('{"outcome": "Submitted", "head": 7, "exitCode": "x", "usage": {"wallSeconds": "y"}}')
    assert find_result(tmp_path / "result") == Result(outcome="Submitted", reason="", usage={"wallSeconds": 0})


def test_writing_replaces_the_file_in_one_step(tmp_path: Path) -> None:
    write_result(tmp_path / "result", RESULT)
    assert find_result(tmp_path / "result") == RESULT
    assert [path.name for path in tmp_path.iterdir()] == ["result"]
