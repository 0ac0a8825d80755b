"""Who may move which ref: the rule as a table."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gastown_git.ref_names import ZERO, is_protected
from gastown_git.server.access import OTHER_REF_REFUSED, Identity, RefUpdate, find_refusal, find_refusals, own_prefixes

ONE, TWO = "12" * 20, "34" * 20
FURIOSA = Identity("agent", "greeter/polecats/furiosa", "town", "greeter-furiosa", "greeter")
CREW = Identity("agent", "greeter/crew/max", "town", "greeter-max", "greeter", role="crew")
MAYOR = Identity("agent", "mayor", "town", "mayor", "greeter", role="mayor")
JOE = Identity("person", "joe")


def refusal(identity: Identity, ref: str, old: str = ONE, new: str = TWO, rig: str = "greeter", namespace: str = "town") -> str | None:
    return find_refusal(identity, namespace, rig, RefUpdate(old, new, ref))


@pytest.mark.parametrize(
    ("identity", "ref"),
    [
        pytest.param(FURIOSA, "refs/heads/polecat/greeter-furiosa/gp-1", id="polecat, own branch"),
        pytest.param(FURIOSA, "refs/heads/polecat/greeter-furiosa/gp-1.2/try", id="polecat, deeper branch"),
        pytest.param(FURIOSA, "refs/agents/greeter-furiosa/wip/gp-1", id="polecat, checkpoint"),
        pytest.param(CREW, "refs/heads/crew/greeter-max/idea", id="crew, own branch"),
        pytest.param(CREW, "refs/agents/greeter-max/notes/x", id="crew, something else of its own"),
    ],
)
@pytest.mark.parametrize(("old", "new"), [(ZERO, ONE), (ONE, TWO), (ONE, ZERO)], ids=["create", "move", "delete"])
def test_agents_do_what_they_like_with_their_own_refs(identity: Identity, ref: str, old: str, new: str) -> None:
    assert refusal(identity, ref, old, new) is None


AT_WORK = replace(FURIOSA, bead="gp-1")


@pytest.mark.parametrize(
    "ref",
    [
        pytest.param("refs/heads/polecat/greeter-furiosa/gp-1", id="its branch"),
        pytest.param("refs/heads/polecat/greeter-furiosa/try/gp-2", id="a deeper branch, which is nobody's start"),
        pytest.param("refs/agents/greeter-furiosa/wip/gp-1", id="its checkpoint"),
        pytest.param("refs/agents/greeter-furiosa/notes/gp-2", id="something else of its own"),
    ],
)
def test_a_session_writes_the_refs_of_its_bead_and_what_is_nobodys_start(ref: str) -> None:
    assert refusal(AT_WORK, ref) is None


@pytest.mark.parametrize(
    ("ref", "told"),
    [
        pytest.param("refs/heads/polecat/greeter-furiosa/gp-2", "this session works on gp-1; push to refs/heads/polecat/", id="branch"),
        pytest.param("refs/agents/greeter-furiosa/wip/gp-2", "push to refs/agents/greeter-furiosa/wip/gp-1", id="checkpoint"),
        pytest.param("refs/agents/greeter-furiosa/wip/gp-1/x", "push to refs/agents/greeter-furiosa/wip/gp-1", id="below its checkpoint"),
    ],
)
@pytest.mark.parametrize(("old", "new"), [(ZERO, ONE), (ONE, TWO), (ONE, ZERO)], ids=["create", "move", "delete"])
def test_a_session_can_not_leave_work_under_the_name_of_another_bead(ref: str, told: str, old: str, new: str) -> None:
    assert told in (refusal(AT_WORK, ref, old, new) or "")


@pytest.mark.parametrize(
    ("identity", "ref", "told"),
    [
        pytest.param(FURIOSA, "refs/heads/main", "only the refinery moves this branch", id="main"),
        pytest.param(FURIOSA, "refs/heads/polecat", "only the refinery moves this branch", id="a branch in the folder's place"),
        pytest.param(FURIOSA, "refs/heads/polecat/greeter-furiosa", "belongs to another agent", id="the folder itself as a ref"),
        pytest.param(FURIOSA, "refs/heads/polecat/greeter-furiosa/", "needs a plain name", id="no name"),
        pytest.param(FURIOSA, "refs/heads/polecat/greeter-furiosa/../greeter-nux/x", "needs a plain name", id="dots"),
        pytest.param(FURIOSA, "refs/heads/polecat/greeter-furiosa//x", "needs a plain name", id="two slashes"),
        pytest.param(FURIOSA, "refs/heads/polecat/greeter-furiosa/a b", "needs a plain name", id="a blank"),
        pytest.param(FURIOSA, "refs/heads/polecat/greeter-furiosa/a\nng x", "needs a plain name", id="a newline"),
        pytest.param(FURIOSA, "refs/heads/polecat/greeter-nux/gp-2", "belongs to another agent", id="another's"),
        pytest.param(FURIOSA, "refs/heads/POLECAT/greeter-furiosa/x", "only the refinery", id="capitals"),
        pytest.param(FURIOSA, "refs/heads/crew/greeter-furiosa/x", "belongs to another agent", id="a polecat in crew's folder"),
        pytest.param(CREW, "refs/heads/polecat/greeter-max/x", "belongs to another agent", id="crew in the polecats' folder"),
        pytest.param(CREW, "refs/agents/greeter-max/wip/gp-1", "sessions go on from refs below", id="crew, where sessions of a bead begin"),
        pytest.param(FURIOSA, "refs/stash", "only the town writes this ref", id="any other ref"),
        pytest.param(MAYOR, "refs/heads/polecat/mayor/x", "role mayor has no branches", id="a role without branches"),
        pytest.param(JOE, "refs/heads/crew/joe/x", "people push as their crew agent", id="a person"),
    ],
)
def test_everything_else_is_refused_with_what_to_do_instead(identity: Identity, ref: str, told: str) -> None:
    reason = refusal(identity, ref)
    assert reason is not None
    assert told in reason
    assert "\n" not in reason


def test_an_agent_writes_in_its_own_rig_and_town_only() -> None:
    ref = "refs/heads/polecat/greeter-furiosa/x"
    other_rig = refusal(FURIOSA, ref, rig="other")
    assert other_rig == "greeter-furiosa works on town/greeter, not on town/other; push there, or file a bead for this rig"
    assert refusal(FURIOSA, ref, namespace="elsewhere") is not None
    assert own_prefixes(FURIOSA, "town", "other") == ()


def test_deleting_what_does_not_exist_is_said_so() -> None:
    assert refusal(FURIOSA, "refs/heads/polecat/greeter-furiosa/x", ZERO, ZERO) == (
        "there is nothing to delete; fetch with --prune to see what exists"
    )


def test_one_refused_ref_refuses_the_push_and_each_ref_is_told_why() -> None:
    updates = [RefUpdate(ZERO, ONE, "refs/heads/polecat/greeter-furiosa/x"), RefUpdate(ONE, TWO, "refs/tags/v1")]
    refusals = find_refusals(FURIOSA, "town", "greeter", updates)
    assert refusals[0] == ("refs/heads/polecat/greeter-furiosa/x", OTHER_REF_REFUSED)
    assert refusals[1][1].startswith("tags are not made here")
    assert find_refusals(FURIOSA, "town", "greeter", updates[:1]) == []


@given(st.text(max_size=60), st.sampled_from([FURIOSA, CREW, MAYOR, JOE]))
def test_law_what_is_allowed_lies_in_an_own_folder_and_is_never_protected(ref: str, identity: Identity) -> None:
    for name in (ref, f"refs/heads/{ref}", f"refs/heads/polecat/{ref}", f"refs/agents/{ref}"):
        if refusal(identity, name) is None:
            assert name.startswith(own_prefixes(identity, "town", "greeter"))
            assert not is_protected(name)
            assert ".." not in name.split("/")
