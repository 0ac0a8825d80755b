"""The objects of a namespace as a whole, without what differs between two runs of the same story: to say that two ended alike."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from gastown.api import kinds
from gastown.api.kinds import Kind

Json = dict[str, Any]
KINDS = (
    *(kinds.TOWN, kinds.RIG, kinds.AGENT_PROFILE, kinds.CONVOY, kinds.BEAD, kinds.AGENT, kinds.MERGE_REQUEST, kinds.GATE_RUN),
    *(kinds.JOB, kinds.POD, kinds.SERVICE_ACCOUNT, kinds.LEASE),
)
_UID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
# Of the API server's own making, or the moment of writing.
_DROPPED = {"resourceVersion", "managedFields", "generation", "creationTimestamp", "uid"}
# Phases that are passed through may go unseen while nobody looks, and an agent's record rides with the next change of its status.
_UNSEEN = {"readyTime", "hookedTime", "workingTime", "submittedTime", "cv"}


def end_state(objects: Mapping[Kind, Iterable[Json]], renamed: Mapping[str, str] | None = None) -> Json:
    """Project objects: times become `<time>`, uids the object they belong to, and the namespace goes.

    Args:
        objects: By kind.
        renamed: Further texts and what stands for them, such as commit ids that contain the time.

    Returns:
        "Kind/name" -> object; equal for two runs that ended alike.
    """
    names = {value["metadata"]["uid"]: f"<uid of {kind.name}/{value['metadata']['name']}>" for kind in objects for value in objects[kind]}
    words = dict(sorted({**(renamed or {}), **names}.items(), key=lambda pair: -len(pair[0])))
    # What stands for a text may hold another text that is renamed.
    words = {text: _replaced(stands_for, words) for text, stands_for in words.items()}
    found: Json = {}
    for kind, values in objects.items():
        for value in values:
            namespace = value["metadata"].get("namespace", "")
            state = _without(value, words | ({namespace: "<namespace>"} if namespace else {}))
            observed = value.get("status", {}).get("observedGeneration")
            if observed is not None:
                state["status"]["observedGeneration"] = observed == value["metadata"]["generation"]
            key = f"{kind.name}/{state['metadata']['name']}"
            while key in found:  # what was made twice may read the same once it is renamed
                key += " again"
            found[key] = state
    return found


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """What differs, a line each, for the message of a test."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = sorted(one.keys() | other.keys())
        return [line for key in keys for line in differences(one.get(key), other.get(key), f"{path}.{key}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [line for number, pair in enumerate(zip(one, other, strict=True)) for line in differences(*pair, f"{path}[{number}]")]
    return [] if one == other else [f"{path}: {one!r} became {other!r}"]


def _without(value: Any, words: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        # A counter that was never set reads as 0.
        kept = {key: _without(inner, words) for key, inner in value.items() if key not in _DROPPED | _UNSEEN and inner not in (0, "", None)}
        if "lastTransitionTime" in kept:
            kept.pop("observedGeneration", None)  # of a condition: which of several quick changes was seen first is chance
        return kept
    if isinstance(value, list):
        return [_without(inner, words) for inner in value]
    if not isinstance(value, str):
        return value
    return _UID.sub("<uid>", _TIME.sub("<time>", _replaced(value, words)))


def _replaced(text: str, words: Mapping[str, str]) -> str:
    for word, stands_for in words.items():
        text = text.replace(word, stands_for)
    return text
