"""Sessions that no server would take, and what agents may write into their last words and heartbeats."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gastown.actions import Create, SetStatus
from gastown.api.agent import AgentStatus
from gastown.api.agent_profile import Prices, Resources
from gastown.api.codec import to_dict
from gastown.decide import session, session_end
from gastown.decide.session_pod import SessionSettings, session_pod
from gastown.decide.session_seen import SessionSeen
from gastown.decide.witness import Heartbeat
from support import build
from support.build import NOON

SETTINGS = SessionSettings(repository_url="http://repo.invalid", image="test")
INVALID = 'create /api/v1/namespaces/town/pods: 422 Invalid: Pod "greeter-nux" is invalid: spec.containers[0].image: Required (give up)'
NO_CLASS = 'create /api/v1/namespaces/town/pods: 403 Forbidden: pod rejected: RuntimeClass "x" not found (give up)'
QUOTA = 'create /api/v1/namespaces/town/pods: 403 Forbidden: pods "greeter-nux" is forbidden: exceeded quota: small (give up)'


def seen(status: AgentStatus | None = None, **fields: Any) -> SessionSeen:
    """An agent with a bead on its hook."""
    agent = build.agent() if status is None else dataclasses.replace(build.agent(), status=status)
    around = {
        "rig": build.rig(),
        "town": build.town(),
        "profiles": {"apprentice": build.profile()},
        "heartbeat": Heartbeat(lease=build.lease()),
    }
    return SessionSeen(agent, SETTINGS, **{"beads": (build.held_bead(),), **around, **fields})


def counted(problem: str, what: SessionSeen) -> AgentStatus | None:
    for action in session.refused(what, problem, NOON):
        assert isinstance(action, SetStatus)
        assert isinstance(action.status, AgentStatus)
        return action.status
    return None


# Pods that are refused


@pytest.mark.parametrize("problem", [INVALID, NO_CLASS], ids=["invalid", "no such runtime class"])
def test_a_refused_pod_is_a_lost_session_that_says_what_to_correct_and_the_next_one_waits(problem: str) -> None:
    status = counted(problem, seen())
    assert status is not None
    assert (status.attempts, status.session.number, status.session.lastOutcome, status.session.beadName) == (1, 1, "Lost", "gp-1")
    assert status.session.lastMessage.startswith("its pod was refused, correct the AgentProfile: create ")
    later = seen(status, beads=(build.held_bead(status={"sessionUid": status.session.uid}),))
    assert not [action for action in session.decide(later, NOON + 59) if isinstance(action, Create)]
    assert [action for action in session.decide(later, NOON + 61) if isinstance(action, Create)]


def test_each_refusal_is_a_session_of_its_own_so_that_each_costs_the_bead_an_attempt() -> None:
    first = counted(INVALID, seen())
    assert first is not None
    second = counted(INVALID, seen(first))
    assert second is not None
    assert first.session.uid != second.session.uid
    assert second.attempts == 2


def test_a_quota_is_waited_for_however_long_it_takes() -> None:
    assert counted(QUOTA, seen()) is None


def test_a_refusal_that_comes_when_there_is_a_pod_or_no_work_counts_for_nothing() -> None:
    assert counted(INVALID, seen(pod=build.session_pod())) is None
    assert counted(INVALID, SessionSeen(build.agent(), SETTINGS)) is None


def test_a_profile_that_limits_memory_below_our_default_makes_a_valid_pod() -> None:
    profile = build.profile(resources=Resources(limits={"memory": "16Mi"}))
    pod = session_pod(build.agent(), build.held_bead(), build.rig(), profile, 1, SETTINGS)
    assert pod["spec"]["containers"][0]["resources"] == {"limits": {"memory": "16Mi"}, "requests": {"cpu": "10m"}}


def test_the_longest_program_the_kind_takes_fits_into_one_variable() -> None:
    profile = build.profile(command=["😀" * 10_000, "\x01$" * 5_000])
    pod = session_pod(build.agent(), build.held_bead(), build.rig(), profile, 1, SETTINGS)
    (variable,) = [item for item in pod["spec"]["containers"][0]["env"] if item["name"] == "GASTOWN_AGENT_COMMAND"]
    assert len(variable["value"].replace("$$", "$").encode()) < 128 * 1024


# What sessions say

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=[])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
SAID = st.dictionaries(
    st.sampled_from(["outcome", "reason", "message", "mergeRequest", "head", "checkpoint", "exitCode", "usage", "x"]),
    st.sampled_from(["Submitted", "Handoff", "Failed", "NoChange", "Closed", "a" * 40]) | ANYTHING,
)


@given(SAID.map(json.dumps) | st.text() | st.just("[" * 100_000) | st.just('{"usage": {"inputTokens": ' + "9" * 5000 + "}}"))
def test_law_whatever_an_agent_leaves_as_its_last_words_becomes_an_end_that_can_be_written(words: str) -> None:
    pod = build.session_pod(exit_code=0, message=words)
    end = session_end.end_of(pod, Prices())
    assert end is not None
    for text in (end.message, end.head, end.merge_request_name):
        text.encode()
        assert not {"\x1b", "\x9b", "\r"} & set(text)
    assert len(end.message) <= session_end.MESSAGE_LIMIT
    assert all(isinstance(value, int) and 0 <= value <= 1 << 62 for value in to_dict(end.usage).values())
