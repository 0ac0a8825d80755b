"""The record of gate results, in the repository itself: `refs/evidence/<gate digest>/<tree>` -> a JSON blob.

Keyed by tree and gate digest, so a restart, a replay or another candidate with the same tree costs no gate run. The record only
grows: an attempt's number is recorded once, the first word about it stands, and a green is never taken back by a later red.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

from gastown_git import ref_names
from gastown_git.ref_names import ObjectId
from gastown_git.refinery.verdicts import Attempt, Evidence, GateResult, Verdict
from gastown_git.refs import RefMoved
from gastown_git.repository import Repository

MAX_LOG_TAIL_CHARACTERS = 8000
"""Enough to see why a test failed; the whole log is the cluster's business."""

_FORMAT = 1


def find_evidence(repository: Repository, gate_digest: str, tree: ObjectId) -> Evidence | None:
    """Read what is known about a tree.

    Args:
        repository: The rig's repository.
        gate_digest: SHA-256 of the rig's present list of gates, in hex.
        tree: Tree id of a candidate.

    Returns:
        The record, or None when the tree was never gated under these gates.
    """
    blob = repository.refs.find(_ref(gate_digest, tree))
    return None if blob is None else _decode(repository.read(blob))


def list_evidence(repository: Repository, gate_digest: str) -> Iterator[Evidence]:
    """Read all records under one gate digest."""
    for blob in repository.refs.find_all(f"{ref_names.EVIDENCE}{gate_digest}/").values():
        yield _decode(repository.read(blob))


def record_attempt(repository: Repository, gate_digest: str, tree: ObjectId, attempt: Attempt) -> Evidence:
    """Add one attempt to the record of a tree; again with the same number changes nothing.

    Args:
        repository: The rig's repository.
        gate_digest: SHA-256 of the list of gates that ran, in hex.
        tree: Tree that was gated.
        attempt: Its number decides: the first record of a number stands.

    Returns:
        The record as it is now.

    Raises:
        ValueError: Digest or tree are no such ids.
        RefLocked: Try again later.
    """
    ref = _ref(gate_digest, tree)
    attempt = dataclasses.replace(attempt, gates=tuple(_shorten(gate) for gate in attempt.gates))
    while True:
        blob = repository.refs.find(ref)
        known = Evidence(gate_digest, tree) if blob is None else _decode(repository.read(blob))
        if any(earlier.number == attempt.number for earlier in known.attempts):
            return known
        attempts = tuple(sorted((*known.attempts, attempt), key=lambda each: each.number))
        evidence = dataclasses.replace(known, attempts=attempts)
        new = repository.write_blob(_encode(evidence))
        try:
            if blob is None:
                repository.refs.create(ref, new)
            else:
                repository.refs.update(ref, new=new, expected=blob)
        except RefMoved:
            continue  # somebody else recorded at the same moment: add to what they wrote
        return evidence


def _ref(gate_digest: str, tree: ObjectId) -> str:
    if not ref_names.is_digest(gate_digest):
        raise ValueError(f"gate digest {gate_digest!r} is not a SHA-256 in hex")
    if not ref_names.is_object_id(tree):
        raise ValueError(f"tree {tree!r} is not an object id of 40 hex digits")
    return ref_names.evidence_ref(gate_digest, tree)


def _shorten(gate: GateResult) -> GateResult:
    return dataclasses.replace(gate, log_tail=gate.log_tail[-MAX_LOG_TAIL_CHARACTERS:])


def _encode(evidence: Evidence) -> bytes:
    document = {
        "format": _FORMAT,
        "gateDigest": evidence.gate_digest,
        "tree": evidence.tree,
        "attempts": [_attempt_document(attempt) for attempt in evidence.attempts],
    }
    return json.dumps(document, sort_keys=True, indent=1).encode()


def _attempt_document(attempt: Attempt) -> dict[str, Any]:
    gates = [
        {
            "name": gate.name,
            "verdict": gate.verdict.value,
            "exitCode": gate.exit_code,
            "seconds": gate.seconds,
            "logTail": gate.log_tail,
        }
        for gate in attempt.gates
    ]
    return {
        "number": attempt.number,
        "verdict": attempt.verdict.value,
        "candidate": attempt.candidate,
        "base": attempt.base,
        "members": list(attempt.members),
        "gates": gates,
        "startTime": attempt.start_time,
        "finishTime": attempt.finish_time,
    }


def _decode(content: bytes) -> Evidence:
    document = json.loads(content)
    attempts = tuple(_attempt(each) for each in document["attempts"])
    return Evidence(document["gateDigest"], document["tree"], attempts)


def _attempt(document: dict[str, Any]) -> Attempt:
    gates = tuple(
        GateResult(gate["name"], Verdict(gate["verdict"]), gate["exitCode"], gate["seconds"], gate["logTail"]) for gate in document["gates"]
    )
    return Attempt(
        number=document["number"],
        verdict=Verdict(document["verdict"]),
        candidate=document["candidate"],
        base=document["base"],
        members=tuple(document["members"]),
        gates=gates,
        start_time=document["startTime"],
        finish_time=document["finishTime"],
    )
