"""JSON to dataclass and back, and the merge patch between two objects."""

from __future__ import annotations

import copy
import dataclasses
import json
import typing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gastown.api.bead import Bead, BeadSpec, Dependency, FormulaReference
from gastown.api.codec import from_dict, merge_patch_between, to_dict
from gastown.api.kinds import GASTOWN_KINDS, Kind
from gastown.api.meta import ObjectMeta
from gastown.api.rig import Gate


def test_a_bead_is_read_from_json() -> None:
    bead = from_dict(Bead, {"metadata": {"name": "gp-1"}, "spec": {"title": "Say hello", "dependencies": [{"id": "gp-0"}]}})
    assert bead == Bead(
        metadata=ObjectMeta(name="gp-1"), spec=BeadSpec(title="Say hello", dependencies=[Dependency(id="gp-0", type="blocks")])
    )


def test_a_field_this_version_does_not_know_is_skipped() -> None:
    assert from_dict(Dependency, {"id": "gp-0", "since": "tomorrow"}) == Dependency(id="gp-0")


def test_null_counts_as_absent() -> None:
    assert from_dict(BeadSpec, {"title": "Say hello", "formula": None, "labels": None}) == BeadSpec(title="Say hello")


def test_a_missing_field_that_has_no_default_is_named() -> None:
    with pytest.raises(TypeError, match=r"Dependency.*'id'"):
        from_dict(Dependency, {"type": "blocks"})


def test_empty_fields_are_not_written_but_zero_and_false_are() -> None:
    assert to_dict(Gate(name="unit", timeoutSeconds=0)) == {"name": "unit", "type": "Command", "timeoutSeconds": 0}
    assert to_dict(BeadSpec(title="x"))["estimateMinutes"] == 0


def test_an_empty_value_inside_a_map_is_kept() -> None:
    assert to_dict(FormulaReference(name="shiny", vars={"suffix": ""})) == {"name": "shiny", "vars": {"suffix": ""}}


def test_a_patch_names_only_what_changed() -> None:
    before = Bead(metadata=ObjectMeta(name="gp-1", labels={"a": "1", "b": "2"}), spec=BeadSpec(title="x", assignee="greeter-furiosa"))
    after = dataclasses.replace(before, metadata=ObjectMeta(name="gp-1", labels={"a": "1"}), spec=BeadSpec(title="x", notes="n"))
    assert merge_patch_between(before, after) == {"metadata": {"labels": {"b": None}}, "spec": {"assignee": None, "notes": "n"}}


def test_a_list_is_replaced_whole() -> None:
    before, after = BeadSpec(labels=["a", "b"]), BeadSpec(labels=["a"])
    assert merge_patch_between(before, after) == {"labels": ["a"]}


# Laws, over arbitrary objects of every kind.

# A text that has no default, or one that is not empty, is itself never empty: "" is not written and would be read as the default.
# The CRDs refuse "" there; test_types_agree holds them to it.
FILLED = st.text(min_size=1, max_size=8)
PLAIN: dict[Any, st.SearchStrategy[Any]] = {str: st.text(max_size=8), int: st.integers(0, 2**40), bool: st.booleans()}


def values(type_: Any) -> st.SearchStrategy[Any]:
    """Any value of a type used in a dataclass of the API."""
    if type_ in PLAIN:
        return PLAIN[type_]
    if dataclasses.is_dataclass(type_) and isinstance(type_, type):
        hints = typing.get_type_hints(type_)
        return st.builds(type_, **{field.name: field_values(field, hints[field.name]) for field in dataclasses.fields(type_)})
    origin, arguments = typing.get_origin(type_), typing.get_args(type_)
    if origin is list:
        return st.lists(values(arguments[0]), max_size=2)
    if origin is dict:
        return st.dictionaries(FILLED, values(arguments[1]), max_size=2)
    return st.none() | values(next(arm for arm in arguments if arm is not type(None)))


def field_values(field: dataclasses.Field[Any], type_: Any) -> st.SearchStrategy[Any]:
    may_be_empty = field.default in ("", None) or field.default_factory is not dataclasses.MISSING
    return values(type_) if type_ is not str or may_be_empty else FILLED


def apply_merge_patch(target: Any, patch: Any) -> Any:
    """The MergePatch function of RFC 7396, section 2, to judge ours by."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = apply_merge_patch(result.get(name), value)
    return result


few = settings(max_examples=30)  # each example is a whole spec or status
any_kind = st.sampled_from(GASTOWN_KINDS)
SPECS = {kind.name: values(typing.get_type_hints(kind.type)["spec"]) for kind in GASTOWN_KINDS}
STATUSES = {kind.name: values(typing.get_type_hints(kind.type)["status"]) for kind in GASTOWN_KINDS}


@few
@given(any_kind, st.data())
def test_law_what_was_written_is_read_back_and_written_the_same(kind: Kind, data: st.DataObject) -> None:
    value = data.draw(st.one_of(SPECS[kind.name], STATUSES[kind.name]))
    written = to_dict(value)
    read = from_dict(type(value), json.loads(json.dumps(written)))
    assert to_dict(read) == written


@few
@given(any_kind, st.data())
def test_law_reading_back_gives_an_equal_object_unless_an_optional_part_held_nothing(kind: Kind, data: st.DataObject) -> None:
    value = data.draw(STATUSES[kind.name])
    read = from_dict(type(value), to_dict(value))
    for field in dataclasses.fields(value):
        mine, theirs = getattr(value, field.name), getattr(read, field.name)
        assert theirs == mine or (theirs is None and not to_dict(mine))


@few
@given(any_kind, st.data())
def test_law_the_patch_applied_to_before_gives_after(kind: Kind, data: st.DataObject) -> None:
    before, after = data.draw(SPECS[kind.name]), data.draw(SPECS[kind.name])
    original = copy.deepcopy(to_dict(before))
    patch = merge_patch_between(before, after)
    assert apply_merge_patch(original, patch) == to_dict(after)


@few
@given(any_kind, st.data())
def test_law_equal_objects_need_no_patch(kind: Kind, data: st.DataObject) -> None:
    value = data.draw(STATUSES[kind.name])
    assert merge_patch_between(value, copy.deepcopy(value)) == {}
