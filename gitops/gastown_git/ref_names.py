"""Names of refs and ids, in one place: what a name looks like, who owns it, which branches only the kernel may move.

Pure and free of pygit2, so that the access rules and the planner can use it.
"""

from __future__ import annotations

import re
from typing import TypeAlias

ObjectId: TypeAlias = str
"""40 lower-case hex digits."""

ZERO: ObjectId = "0" * 40
"""Git's word for "no object" in a push command: the ref does not exist before, or shall not exist after."""

BRANCHES = "refs/heads/"
POLECAT_BRANCHES = "refs/heads/polecat/"
CREW_BRANCHES = "refs/heads/crew/"
AGENTS = "refs/agents/"
MERGE_REQUESTS = "refs/mr/"
CANDIDATES = "refs/candidates/"
EVIDENCE = "refs/evidence/"
KEEP = "refs/keep/"
UPSTREAM = "refs/upstream/"

_OBJECT_ID = re.compile(r"[0-9a-f]{40}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
# Shorter than the API server's 253: git writes `<name>.lock`, and file systems hold 255 bytes.
_RESOURCE_NAME = re.compile(r"[a-z0-9]([-.a-z0-9]{0,248}[a-z0-9])?")


def is_object_id(text: str) -> bool:
    """Tell whether the text is a full SHA-1 id: short ids are never accepted, they are ambiguous tomorrow."""
    return _OBJECT_ID.fullmatch(text) is not None


def is_digest(text: str) -> bool:
    """Tell whether the text is a SHA-256 digest in hex, as gate digests are."""
    return _DIGEST.fullmatch(text) is not None


def is_label(text: str) -> bool:
    """Tell whether the text may be one folder of a repository's path: a namespace or a rig, at most 63 characters."""
    return _LABEL.fullmatch(text) is not None


def is_resource_name(text: str) -> bool:
    """Tell whether the text may be the last part of `refs/mr/`: letters, digits, dots, dashes, no `..`, no `.lock`, at most 250."""
    return _RESOURCE_NAME.fullmatch(text) is not None and ".." not in text and not text.endswith(".lock")


def is_protected(ref: str) -> bool:
    """Tell whether only the kernel may move this ref.

    Every branch outside the agents' own folders counts, so that a branch nobody thought of is protected too.
    """
    return ref.startswith(BRANCHES) and not ref.startswith((POLECAT_BRANCHES, CREW_BRANCHES))


def branch_ref(branch: str) -> str:
    """Full name of a branch: `main` -> `refs/heads/main`."""
    return BRANCHES + branch


def merge_request_ref(name: str) -> str:
    """Where the head of a merge request is pinned, independent of the agent's branch and pod."""
    return MERGE_REQUESTS + name


def candidate_ref(commit: ObjectId) -> str:
    """What keeps a candidate's objects from being pruned while it is in use."""
    return CANDIDATES + commit


def evidence_ref(gate_digest: str, tree: ObjectId) -> str:
    """Where the verdicts on a tree under one list of gates are recorded."""
    return f"{EVIDENCE}{gate_digest}/{tree}"


def keep_ref(commit: ObjectId) -> str:
    """What keeps a commit whose branch was rewritten or deleted."""
    return KEEP + commit
