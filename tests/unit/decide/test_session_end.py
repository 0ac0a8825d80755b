"""How did this session end? The termination message is a stranger's word: whatever it holds, there is an end that can be recorded."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gastown.api.agent_profile import Prices
from gastown.api.codec import to_dict
from gastown.api.core import ContainerStateTerminated, Pod
from gastown.api.usage import Usage
from gastown.decide.session_end import SessionEnd, end_of
from support import build
from support.build import HEAD, NOON_TEXT

CHECKPOINT = "b" * 40
UNPRICED = Prices()
# Dollars per million tokens: 3, 15, 0.3 and 3.75.
PRICED = Prices(input=3_000_000, output=15_000_000, cacheRead=300_000, cacheWrite=3_750_000)
# As the kubelet cuts termination messages.
MESSAGE_BYTES = 4096
INT64 = 2**63


def ended(message: str | dict[str, Any] = "", *, prices: Prices = UNPRICED, **state: Any) -> SessionEnd:
    """The end of a session that left this message; by default its container exited with 0."""
    end = end_of(build.session_pod(**{"exit_code": 0, "message": message, **state}), prices)
    assert end is not None
    return end


def test_a_session_that_runs_has_no_end() -> None:
    for pod in (build.session_pod(), build.session_pod(phase="Pending"), build.session_pod(deleted=NOON_TEXT)):
        assert end_of(pod, UNPRICED) is None


def test_the_message_of_the_harness_is_recorded() -> None:
    told = {
        "outcome": "Submitted",
        "reason": "GatesGreen",
        "message": "3 tests",
        "mergeRequest": "gp-1-aaaaaaaaaaaa",
        "head": HEAD,
        "usage": {"inputTokens": 7},
    }
    assert ended(told) == SessionEnd(
        uid="pod-greeter-nux-1",
        outcome="Submitted",
        message="GatesGreen: 3 tests",
        merge_request_name="gp-1-aaaaaaaaaaaa",
        head=HEAD,
        time="2025-06-15T15:07:40Z",
        usage=Usage(sessions=1, inputTokens=7, wallSeconds=60, unpricedSessions=1),
    )


@pytest.mark.parametrize(
    ("told", "head"),
    [
        pytest.param({"head": HEAD, "checkpoint": CHECKPOINT}, HEAD, id="what was submitted wins over the checkpoint"),
        pytest.param({"head": "", "checkpoint": CHECKPOINT}, CHECKPOINT, id="only a checkpoint"),
        pytest.param({"head": "main"}, "", id="a branch is no commit"),
        pytest.param({"head": f"{HEAD}\n--upload-pack=sh"}, "", id="an option behind the commit"),
        pytest.param({"head": HEAD.upper()}, "", id="upper case"),
        pytest.param({"head": ["a"] * 40}, "", id="a list"),
    ],
)
def test_a_head_is_a_commit_or_nothing(told: dict[str, Any], head: str) -> None:
    assert ended({"outcome": "Failed", **told}).head == head


@pytest.mark.parametrize(
    ("state", "outcome", "message"),
    [
        pytest.param(
            {"exit_code": 137, "reason": "OOMKilled"},
            "Failed",
            "OOMKilled: exit code 137 without a result; see kubectl logs greeter-nux",
            id="killed by memory",
        ),
        pytest.param(
            {"exit_code": 143, "deleted": NOON_TEXT}, "Handoff", "stopped on request before it could tell its result", id="stopped"
        ),
        pytest.param({"exit_code": None, "phase": "Failed", "pod_reason": "Evicted"}, "Lost", "Evicted: ", id="evicted"),
        pytest.param(
            {
                "exit_code": None,
                "phase": "Failed",
                "init": ContainerStateTerminated(exitCode=3, message="no route\n"),
                "pod_reason": "Evicted",
            },
            "Failed",
            "init container checkout exited with 3: no route",
            id="checkout failed",
        ),
        pytest.param(
            {"exit_code": None, "phase": "Failed"},
            "Failed",
            "Error: exit code 0 without a result; see kubectl logs greeter-nux",
            id="failed, and nobody says why",
        ),
        pytest.param(
            {"exit_code": 0, "message": {"outcome": "Landed"}},
            "Failed",
            'Completed: exit code 0 without a result; last lines:\n{"outcome": "Landed"}',
            id="an outcome that is none",
        ),
        pytest.param(
            {"exit_code": 137, "message": "thinking...\n"},
            "Lost",
            "Error: exit code 137 without a result; last lines:\nthinking...",
            id="killed from outside",
        ),
        pytest.param(
            {"exit_code": 137, "message": {"outcome": "Failed", "reason": "HarnessKilled", "message": "by signal 9"}},
            "Lost",
            "HarnessKilled: by signal 9",
            id="only the harness was killed",
        ),
        pytest.param({"exit_code": 0, "message": {"outcome": "Lost"}}, "Failed", None, id="a session can not call itself lost"),
        pytest.param({"exit_code": 0, "message": {"outcome": ["Submitted"]}}, "Failed", None, id="a list of outcomes"),
        pytest.param({"exit_code": 1, "message": {"outcome": "Handoff"}}, "Handoff", "", id="its word counts more than its exit code"),
    ],
)
def test_without_a_word_of_the_session_kubernetes_tells(state: dict[str, Any], outcome: str, message: str | None) -> None:
    end = ended(**state)
    assert end.outcome == outcome
    assert message is None or end.message == message


@pytest.mark.parametrize(
    ("told", "outcome", "message"),
    [
        pytest.param({"outcome": "Handoff", "reason": "Stopped"}, "Lost", "silent; its last words: Stopped", id="it woke up and stopped"),
        pytest.param("", "Lost", "silent; its last words: stopped on request before it could tell its result", id="it was killed"),
        pytest.param({"outcome": "Submitted", "reason": "GatesGreen"}, "Submitted", "GatesGreen", id="it had just submitted"),
        pytest.param({"outcome": "Failed", "reason": "AgentFailed"}, "Failed", "AgentFailed", id="it had just failed"),
    ],
)
def test_a_session_that_the_witness_replaced_was_lost_unless_it_had_a_result(told: Any, outcome: str, message: str) -> None:
    end = end_of(build.session_pod(exit_code=0, message=told, deleted=NOON_TEXT), UNPRICED, "silent")
    assert end is not None
    assert (end.outcome, end.message) == (outcome, message)


@pytest.mark.parametrize(
    ("counters", "prices", "expected"),
    [
        pytest.param({}, UNPRICED, Usage(sessions=1, wallSeconds=60), id="nothing consumed costs nothing, whatever the prices"),
        pytest.param(
            {"inputTokens": 1_000_000, "outputTokens": 200_000},
            PRICED,
            Usage(sessions=1, wallSeconds=60, inputTokens=1_000_000, outputTokens=200_000, costMicroUSD=6_000_000),
            id="priced",
        ),
        pytest.param(
            {"inputTokens": 10, "outputTokens": 5},
            Prices(input=3_000_000),
            Usage(sessions=1, wallSeconds=60, inputTokens=10, outputTokens=5, unpricedSessions=1),
            id="one price is unknown: so is the cost",
        ),
        pytest.param(
            {"inputTokens": 10, "costMicroUSD": 12},
            PRICED,
            Usage(sessions=1, wallSeconds=60, inputTokens=10, costMicroUSD=12),
            id="told cost wins over the prices",
        ),
        pytest.param(
            {"inputTokens": -4, "outputTokens": "9", "cacheReadTokens": True, "cacheWriteTokens": 1.5},
            PRICED,
            Usage(sessions=1, wallSeconds=60),
            id="what is no count counts as not told",
        ),
    ],
)
def test_usage_is_counted_and_priced(counters: dict[str, Any], prices: Prices, expected: Usage) -> None:
    assert ended({"outcome": "Handoff", "usage": counters}, prices=prices).usage == expected


def test_no_counter_of_one_session_spoils_the_sum_of_many() -> None:
    boast = dict.fromkeys(("inputTokens", "outputTokens", "cacheReadTokens", "cacheWriteTokens"), 10**40)
    told = ended({"outcome": "Handoff", "usage": boast}, prices=PRICED).usage
    for name, value in to_dict(told).items():
        assert 0 <= value * 5000 < INT64, name


def is_recordable(end: SessionEnd) -> bool:
    """Whether the end can be written into a status: its bounds are the CRD's, and it is text that JSON can carry."""
    msgspec.json.encode([end.message, end.merge_request_name, end.head, to_dict(end.usage)])
    return len(end.message) <= 1024 and end.head in ("", HEAD) and all(0 <= count < INT64 for count in to_dict(end.usage).values())


@pytest.mark.parametrize(
    "message",
    [
        pytest.param("", id="nothing"),
        pytest.param("x" * MESSAGE_BYTES, id="no JSON"),
        pytest.param('{"outcome": "Submitted", "mess', id="cut off in the middle"),
        pytest.param("[" * MESSAGE_BYTES, id="nested deeper than a parser goes"),
        pytest.param('{"outcome":' * 372, id="objects nested deep and cut off"),
        pytest.param("9" * MESSAGE_BYTES, id="a number longer than Python converts"),
        pytest.param('{"usage": {"inputTokens": Infinity, "costMicroUSD": NaN}}', id="numbers that JSON does not know"),
        pytest.param('["Submitted"]', id="a list"),
        pytest.param('"Submitted"', id="a text"),
        pytest.param('{"outcome": null, "usage": [1], "head": {}, "message": 5}', id="every field of another type"),
    ],
)
def test_a_message_that_makes_no_sense_is_an_attempt_that_failed(message: str) -> None:
    end = ended(message)
    assert end.outcome == "Failed"
    assert is_recordable(end)


def test_text_that_no_writer_could_encode_is_made_readable() -> None:
    end = ended('{"outcome": "Failed", "message": "half a \\ud83d pair", "mergeRequest": "\\udc00"}')
    assert end.message == "half a \ufffd pair"
    assert is_recordable(end)


def test_a_long_message_is_cut_for_the_status() -> None:
    assert len(ended({"outcome": "Failed", "message": "x" * 4000}).message) == 1024


# Any JSON, and objects with the fields of a result in which anything may stand.
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=30) | st.sampled_from(["Submitted", HEAD]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(["outcome", "reason", "message", "mergeRequest", "head", "checkpoint", "exitCode", "usage"])
MESSAGES = st.one_of(st.text(max_size=200), VALUES.map(json.dumps), st.dictionaries(FIELDS, VALUES, max_size=8).map(json.dumps))


@given(MESSAGES, st.sampled_from([None, 0, 1, 137]), st.sampled_from(["", NOON_TEXT]))
def test_whatever_a_session_leaves_its_end_can_be_recorded(message: str, exit_code: int | None, deleted: str) -> None:
    pod: Pod = build.session_pod(phase="Failed", exit_code=exit_code, message=message, deleted=deleted)
    end = end_of(pod, PRICED)
    assert end is not None
    assert end.outcome in {"Submitted", "Handoff", "Failed", "NoChange", "Closed", "Lost"}
    assert is_recordable(end)
