"""The CRDs are the API and the dataclasses its reading in Python: field for field, default for default, word for word."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gastown.api import agent, agent_profile, bead, conditions, convoy, gate_run, merge_request, rig, town
from gastown.api.kinds import GASTOWN_KINDS, Kind
from gastown.decide import bead as decide_bead
from gastown.decide import convoy as decide_convoy
from gastown.decide import convoy_plan, rework, session_end
from gastown.decide import gate_run as gate_runs
from gastown.processes.refinery import statuses, verdicts
from gastown_git import conflict_hunks

CRDS = Path(__file__).parents[3] / "crds"
PLAIN = {str: "string", int: "integer", bool: "boolean"}

# Defaults that are given although they are empty, or although they stand in a status.
EMPTY_DEFAULTS = {"Bead.spec.assignee"}  # a claim tests this field for ""; it must therefore exist
STATUS_DEFAULTS = {"Bead.status.dependencies[].type"}  # keys of a map-list need a value


@dataclasses.dataclass(frozen=True)
class Pair:
    """A field as both sides have it."""

    path: str
    field: dataclasses.Field[Any]
    type: Any
    schema: dict[str, Any]
    required: bool

    @property
    def in_status(self) -> bool:
        return ".status." in self.path


def crd(kind: Kind) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((CRDS / f"gastown.dev_{kind.plural}.yaml").read_text())
    return document


def schema(kind: Kind) -> dict[str, Any]:
    version: dict[str, Any] = crd(kind)["spec"]["versions"][0]
    found: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return found


def present(type_: Any) -> Any:
    """The type of a field that may be None, without the None."""
    if typing.get_origin(type_) in (types.UnionType, typing.Union):
        return next(arm for arm in typing.get_args(type_) if arm is not type(None))
    return type_


def item_of(type_: Any) -> Any:
    """The dataclass behind a field, through lists; None for plain values."""
    type_ = present(type_)
    if typing.get_origin(type_) is list:
        (type_,) = typing.get_args(type_)
    return type_ if dataclasses.is_dataclass(type_) else None


def pairs(class_: Any, object_schema: dict[str, Any], path: str) -> Iterator[Pair]:
    """Every field of a dataclass with its schema, depth first; stops where a side lacks it (another test tells)."""
    hints = typing.get_type_hints(class_)
    for field in dataclasses.fields(class_):
        field_schema = object_schema.get("properties", {}).get(field.name)
        if field_schema is None:
            continue
        here = f"{path}.{field.name}"
        yield Pair(here, field, hints[field.name], field_schema, field.name in object_schema.get("required", ()))
        if inner := item_of(hints[field.name]):
            is_list = field_schema["type"] == "array"
            yield from pairs(inner, field_schema["items"] if is_list else field_schema, here + ("[]" if is_list else ""))


def kind_pairs(kind: Kind) -> list[Pair]:
    hints = typing.get_type_hints(kind.type)
    properties = schema(kind)["properties"]
    found: list[Pair] = []
    for part in ("spec", "status"):
        found += pairs(hints[part], properties[part], f"{kind.name}.{part}")
    return found


each_kind = pytest.mark.parametrize("kind", GASTOWN_KINDS, ids=lambda kind: kind.name)


def lists_of_names(class_: Any, object_schema: dict[str, Any], path: str) -> Iterator[tuple[str, set[str], set[str]]]:
    yield path, {field.name for field in dataclasses.fields(class_)}, set(object_schema.get("properties", {}))
    for pair in pairs(class_, object_schema, path):
        if inner := item_of(pair.type):
            below = pair.schema["items"] if pair.schema["type"] == "array" else pair.schema
            yield pair.path, {field.name for field in dataclasses.fields(inner)}, set(below.get("properties", {}))


@each_kind
def test_a_kind_has_the_same_fields_on_both_sides(kind: Kind) -> None:
    hints = typing.get_type_hints(kind.type)
    for part in ("spec", "status"):
        for path, in_python, in_crd in lists_of_names(hints[part], schema(kind)["properties"][part], f"{kind.name}.{part}"):
            assert in_python == in_crd, path


@each_kind
def test_the_row_of_a_kind_says_what_its_crd_says(kind: Kind) -> None:
    spec = crd(kind)["spec"]
    assert (spec["group"], spec["names"]["plural"], spec["names"]["kind"]) == (kind.group, kind.plural, kind.name)
    assert [version["name"] for version in spec["versions"]] == [kind.version]


@each_kind
def test_fields_have_the_same_type_on_both_sides(kind: Kind) -> None:
    for pair in kind_pairs(kind):
        assert pair.schema["type"] == schema_type(pair.type), pair.path
        if pair.schema["type"] == "array" and not item_of(pair.type):
            (plain,) = typing.get_args(present(pair.type))
            assert pair.schema["items"]["type"] == PLAIN[plain], pair.path


def schema_type(type_: Any) -> str:
    type_ = present(type_)
    if type_ in PLAIN:
        return PLAIN[type_]
    return "array" if typing.get_origin(type_) is list else "object"


@each_kind
def test_defaults_of_the_dataclass_are_filled_in_by_the_server(kind: Kind) -> None:
    for pair in kind_pairs(kind):
        assert pair.schema.get("default") == default_wanted(pair), pair.path


def default_wanted(pair: Pair) -> Any:
    """None stands for: the server fills in nothing."""
    if pair.path in EMPTY_DEFAULTS:
        return ""
    if pair.in_status and pair.path not in STATUS_DEFAULTS:
        return None  # a status says what was observed; the server must not make it up
    if pair.schema["type"] == "object" and "properties" in pair.schema:
        # Defaults below would stay unfilled when the whole object is left out.
        return {} if pair.field.default is not None and has_defaults(pair.schema) else None
    return None if pair.field.default is dataclasses.MISSING else pair.field.default or None


def has_defaults(object_schema: dict[str, Any]) -> bool:
    return any("default" in below or has_defaults(below) for below in object_schema.get("properties", {}).values())


@each_kind
def test_a_text_with_a_default_is_never_empty_since_the_codec_does_not_write_empty_text(kind: Kind) -> None:
    for pair in kind_pairs(kind):
        if pair.schema["type"] == "string" and (pair.field.default is dataclasses.MISSING or pair.field.default):
            refuses_empty = "enum" in pair.schema or pair.schema.get("minLength") or not re.match(pair.schema.get("pattern", ""), "")
            assert refuses_empty, pair.path


@each_kind
def test_a_field_without_default_is_required_and_a_required_one_has_none(kind: Kind) -> None:
    for pair in kind_pairs(kind):
        if pair.field.default is dataclasses.MISSING and pair.field.default_factory is dataclasses.MISSING:
            assert pair.required, pair.path
        if pair.required:
            assert "default" not in pair.schema, pair.path


@each_kind
def test_descriptions_of_what_may_be_left_out_state_the_default(kind: Kind) -> None:
    for pair in kind_pairs(kind):
        if pair.in_status or pair.required or schema_type(pair.type) == "object":
            continue
        default = pair.schema.get("default", "")
        assert f"Default: {default}" in pair.schema["description"], pair.path


def constants(module: types.ModuleType, prefix: str) -> set[str]:
    return {value for name, value in vars(module).items() if name.startswith(prefix) and isinstance(value, str)}


ENUMS = {
    "Town.spec.emergencyStop.mode": constants(town, "STOP_"),
    "Town.status.phase": constants(town, "PHASE_"),
    "Rig.spec.git.cloneStrategy": constants(rig, "CLONE_"),
    "Rig.spec.gates[].type": constants(rig, "GATE_"),
    "Rig.spec.mergeStrategy": constants(rig, "MERGE_"),
    "Rig.status.phase": constants(rig, "PHASE_"),
    "AgentProfile.spec.adapter": set(agent_profile.ADAPTERS),
    "Agent.spec.role": set(agent.ROLES),
    "Agent.status.phase": constants(agent, "PHASE_"),
    "Agent.status.session.lastOutcome": constants(agent, "OUTCOME_"),
    "Bead.status.failedSessions[].outcome": constants(agent, "OUTCOME_") - {agent.OUTCOME_HANDOFF},
    "Bead.spec.state": {bead.OPEN, bead.DEFERRED, bead.PINNED, bead.CLOSED},
    "Bead.spec.delivery": constants(bead, "DELIVERY_"),
    "Bead.status.phase": set(bead.PHASES),
    "Bead.status.dependencies[].outcome": constants(bead, "OUTCOME_"),
    "Convoy.spec.templates[].delivery": constants(bead, "DELIVERY_"),
    "Convoy.spec.landing": constants(convoy, "LANDING_"),
    "Convoy.spec.failurePolicy": constants(convoy, "FAILURE_"),
    "Convoy.status.phase": constants(convoy, "PHASE_"),
    "MergeRequest.status.phase": constants(merge_request, "PHASE_"),
    "MergeRequest.status.gateResults[].verdict": constants(gate_run, "VERDICT_"),
    "GateRun.status.phase": constants(gate_run, "PHASE_"),
    "GateRun.status.gates[].verdict": constants(gate_run, "VERDICT_"),
}


def test_every_enum_of_the_crds_is_the_set_of_constants_in_python() -> None:
    found = {
        pair.path: set(pair.schema["enum"])
        for kind in GASTOWN_KINDS
        for pair in kind_pairs(kind)
        if "enum" in pair.schema and ".conditions[]" not in pair.path
    }
    assert found == ENUMS


def bound(kind: str, path: str, bound_name: str) -> int:
    row = next(row for row in GASTOWN_KINDS if row.name == kind)
    found: int = next(pair.schema[bound_name] for pair in kind_pairs(row) if pair.path == f"{kind}.{path}")
    return found


@pytest.mark.parametrize(
    ("cut_to", "kind", "path", "bound_name"),
    [
        (decide_bead.LISTED_LIMIT, "Bead", "status.blockedBy", "maxItems"),
        (decide_bead.LISTED_LIMIT, "Bead", "status.landedCommits", "maxItems"),
        (decide_bead.RETRY_LIMIT, "Bead", "status.lastRetryRequest", "maxLength"),
        (rework.FILES_LIMIT, "Bead", "status.lastRework.files", "maxItems"),
        (rework.HUNKS_LIMIT, "Bead", "status.lastRework.hunks", "maxItems"),
        (rework.EARLIER_LIMIT, "Bead", "status.earlierReworks", "maxItems"),
        (conditions.MESSAGE_LIMIT, "Bead", "status.lastRework.message", "maxLength"),
        (verdicts.FILES_LIMIT, "MergeRequest", "status.conflict.files", "maxItems"),
        (verdicts.PATH_LIMIT, "MergeRequest", "status.conflict.hunks[].file", "maxLength"),
        (conflict_hunks.MAX_HUNKS, "MergeRequest", "status.conflict.hunks", "maxItems"),
        (conflict_hunks.MAX_HUNK_CHARACTERS, "MergeRequest", "status.conflict.hunks[].text", "maxLength"),
        (conditions.MESSAGE_LIMIT, "MergeRequest", "status.conflict.message", "maxLength"),
        (gate_runs.LOG_TAIL_LIMIT, "GateRun", "status.gates[].logTail", "maxLength"),
        (statuses.LOG_TAIL_LIMIT, "MergeRequest", "status.gateResults[].logTail", "maxLength"),
        (statuses.LOG_TAIL_LIMIT, "Bead", "status.lastRework.logTail", "maxLength"),
        (convoy_plan.WAVES_LIMIT, "Convoy", "status.waves", "maxItems"),
        (decide_convoy.REASONS_LIMIT, "Convoy", "status.reasons", "maxItems"),
        (decide_convoy.MESSAGE_LIMIT, "Convoy", "status.reasons[].message", "maxLength"),
        (decide_bead.FAILED_SESSIONS_LIMIT, "Bead", "status.failedSessions", "maxItems"),
        (session_end.MESSAGE_LIMIT, "Bead", "status.failedSessions[].message", "maxLength"),
        (session_end.MESSAGE_LIMIT, "Agent", "status.session.lastMessage", "maxLength"),
        (conditions.MESSAGE_LIMIT, "Bead", "status.conditions[].message", "maxLength"),
    ],
    ids=str,
)
def test_what_a_writer_cuts_to_fits_since_the_server_refuses_the_whole_status_otherwise(
    cut_to: int, kind: str, path: str, bound_name: str
) -> None:
    assert cut_to <= bound(kind, path, bound_name)


def test_a_bead_can_record_an_outcome_for_each_of_its_dependencies() -> None:
    assert bound("Bead", "status.dependencies", "maxItems") >= bound("Bead", "spec.dependencies", "maxItems")


def test_a_gate_run_and_a_merge_request_have_room_for_every_gate_of_a_rig() -> None:
    gates = bound("Rig", "spec.gates", "maxItems")
    assert bound("GateRun", "status.gates", "maxItems") == gates
    assert bound("MergeRequest", "status.gateResults", "maxItems") == gates
