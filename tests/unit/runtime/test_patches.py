"""What of a wanted change is a change."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gastown.runtime.patches import covers, reduced


@pytest.mark.parametrize(
    ("patch", "seen", "expected"),
    [
        pytest.param({"phase": "Ready"}, {"phase": "Ready"}, {}, id="equal"),
        pytest.param({"phase": "Ready"}, {"phase": "Blocked", "attempts": 1}, {"phase": "Ready"}, id="different"),
        pytest.param({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, {"a": {"c": 2}}, id="deep inside"),
        pytest.param({"a": {"b": 1}}, {"a": "text"}, {"a": {"b": 1}}, id="an object for a text"),
        pytest.param({"items": [1]}, {"items": [1, 2]}, {"items": [1]}, id="a list as a whole"),
        pytest.param({"gone": None}, {"gone": "x"}, {"gone": None}, id="removed"),
        pytest.param({"gone": None}, {}, {}, id="removed already"),
        pytest.param({"gone": None, "list": [], "text": ""}, {"gone": "", "text": None}, {}, id="empty is empty"),
        pytest.param({"a": {"b": None}}, {}, {}, id="removing from nothing makes no empty object"),
        pytest.param({"count": 0}, {}, {"count": 0}, id="zero says something"),
        pytest.param({"flag": False}, {"flag": True}, {"flag": False}, id="false says something"),
    ],
)
def test_reduced(patch: dict[str, Any], seen: dict[str, Any], expected: dict[str, Any]) -> None:
    assert reduced(patch, seen) == expected


READY = {"type": "Ready", "status": "True", "message": ""}
OTHER = {"type": "Other", "status": "False"}


@pytest.mark.parametrize(
    ("seen", "wanted", "expected"),
    [
        pytest.param({"a": 1, "b": 2}, {"a": 1}, True, id="more is there"),
        pytest.param({"a": 1}, {"a": 2}, False, id="another value"),
        pytest.param({}, {"a": ""}, True, id="an empty text is not missed"),
        pytest.param({"a": "x"}, {"a": ""}, False, id="but a text is not empty"),
        pytest.param([OTHER, {"type": "Ready", "status": "True"}], [READY], True, id="conditions by type"),
        pytest.param([{**READY, "status": "False"}], [READY], False, id="a condition that turned"),
        pytest.param([OTHER], [READY], False, id="a missing condition"),
        pytest.param([1, 2], [1], False, id="plain lists as wholes"),
        pytest.param("text", {"a": 1}, False, id="a text is no object"),
    ],
)
def test_covers(seen: Any, wanted: Any, expected: bool) -> None:
    assert covers({"x": seen}, {"x": wanted}) is expected


SCALARS = st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["", "a", "b"])
VALUES = st.recursive(SCALARS | st.lists(SCALARS, max_size=2), lambda inner: st.dictionaries(st.sampled_from("xyz"), inner, max_size=3))
OBJECTS = st.dictionaries(st.sampled_from("xyz"), VALUES, max_size=3)


def merged(seen: Any, patch: Any) -> Any:
    """RFC 7396 as it is written."""
    if not isinstance(patch, dict):
        return patch
    result = dict(seen) if isinstance(seen, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        rest = {key: without_empty(item) for key, item in value.items()}
        return {key: item for key, item in rest.items() if item not in (None, "") and item != [] and item != {}}
    return value


@given(OBJECTS, OBJECTS)
def test_the_reduced_patch_does_what_the_patch_does(seen: dict[str, Any], patch: dict[str, Any]) -> None:
    assert without_empty(merged(seen, reduced(patch, seen))) == without_empty(merged(seen, patch))


@given(OBJECTS, OBJECTS)
def test_a_patch_applied_leaves_nothing_to_apply(seen: dict[str, Any], patch: dict[str, Any]) -> None:
    assert reduced(patch, merged(seen, patch)) == {}


@given(OBJECTS)
def test_everything_covers_itself(value: dict[str, Any]) -> None:
    assert covers(value, value)
