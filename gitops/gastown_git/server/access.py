"""May this actor move this ref? Pure: no I/O, no clock; the whole rule on one page.

An agent writes its own branches (`refs/heads/polecat/<agent>/`, for crew `refs/heads/crew/<agent>/`) and its own folder
`refs/agents/<agent>/` (checkpoints), in its own rig; nobody writes anything else through a push. Rewriting and deleting one's own
refs is allowed because the server keeps the old tip first (old_tips.py). receive_pack.py gives the refusals to git, which prints
them behind the ref.

The refs that the next session of a bead may go on from, `refs/heads/polecat/<agent>/<bead>` and `refs/agents/<agent>/wip/<bead>`, are
narrower: a polecat writes them only for the bead its session pod was made for, and crew, which has no such pod, not at all. Otherwise
an agent could lead the work of any bead astray by leaving something newer under its name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gastown_git import ref_names
from gastown_git.ref_names import ZERO, ObjectId

OTHER_REF_REFUSED = "not updated: another ref of this push was refused; push this one alone"

CHECKPOINTS = "wip/"
_PLAIN_REST = re.compile(r"[^\x00-\x20\x7f~^:?*\[\\]+")
_BRANCH_FOLDERS = {"polecat": ref_names.POLECAT_BRANCHES, "crew": ref_names.CREW_BRANCHES}


@dataclass(frozen=True)
class Identity:
    """Who sent a request, as the authenticator knows from the token.

    Attributes:
        kind: An agent of ours, or a person.
        actor: Name for logs and messages.
        namespace: Town of an agent; empty for a person.
        agent: Name of the agent; empty for a person.
        rig: Rig the agent works on; empty when it works on none.
        role: Of an agent: `polecat` and `crew` have branches of their own, others have none.
        bead: That its session pod was made for; empty where there is no such pod.
        groups: As the API server names them; not used here.
    """

    kind: Literal["agent", "person"]
    actor: str
    namespace: str = ""
    agent: str = ""
    rig: str = ""
    role: str = "polecat"
    groups: tuple[str, ...] = ()
    bead: str = ""


@dataclass(frozen=True)
class RefUpdate:
    """One command of a push: move `ref` from `old` to `new`; forty zeros mean "does not exist"."""

    old: ObjectId
    new: ObjectId
    ref: str

    @property
    def is_creation(self) -> bool:
        """Whether the pusher believes that the ref does not exist."""
        return self.old == ZERO

    @property
    def is_deletion(self) -> bool:
        """Whether the ref shall go."""
        return self.new == ZERO


def own_prefixes(identity: Identity, namespace: str, rig: str) -> tuple[str, ...]:
    """List the folders of refs that an identity may write in a rig; each ends in a slash.

    Args:
        identity: Who asks.
        namespace: Town of the repository.
        rig: Rig of the repository.
    """
    if identity.kind != "agent" or not identity.agent or (identity.namespace, identity.rig) != (namespace, rig):
        return ()
    branches = _BRANCH_FOLDERS.get(identity.role)
    return (f"{branches}{identity.agent}/", f"{ref_names.AGENTS}{identity.agent}/") if branches else ()


def find_refusal(identity: Identity, namespace: str, rig: str, update: RefUpdate) -> str | None:
    """Tell why a ref may not be moved.

    Args:
        identity: Who pushes.
        namespace: Town of the repository.
        rig: Rig of the repository.
        update: What shall happen.

    Returns:
        What is not allowed and what to do instead, on one line; None when it is allowed.
    """
    prefixes = own_prefixes(identity, namespace, rig)
    if not prefixes:
        return _no_push_at_all(identity, namespace, rig)
    own = next((prefix for prefix in prefixes if update.ref.startswith(prefix)), None)
    if own is None:
        return _not_own(update.ref, prefixes[0])
    rest = update.ref.removeprefix(own)
    if not _PLAIN_REST.fullmatch(rest) or any(part in {"", ".", ".."} for part in rest.split("/")):
        return f"{own}<name> needs a plain name after the last slash; push to {own}<bead>"
    if told := _of_other_bead(identity, own, rest):
        return told
    if update.is_creation and update.is_deletion:
        return "there is nothing to delete; fetch with --prune to see what exists"
    return None


def find_refusals(identity: Identity, namespace: str, rig: str, updates: Sequence[RefUpdate]) -> list[tuple[str, str]]:
    """Judge a whole push: one refused ref refuses all, because the pack that comes with it serves them all.

    Returns:
        (ref, reason) for every ref of the push, innocent ones included; empty when all are allowed.
    """
    reasons = [(update.ref, find_refusal(identity, namespace, rig, update)) for update in updates]
    if all(reason is None for _, reason in reasons):
        return []
    return [(ref, reason or OTHER_REF_REFUSED) for ref, reason in reasons]


def _no_push_at_all(identity: Identity, namespace: str, rig: str) -> str:
    if identity.kind == "person":
        return f"{identity.actor} is a person, and people push as their crew agent; use the token that `gt credential` gives for it"
    if (identity.namespace, identity.rig) != (namespace, rig):
        home = f"{identity.namespace}/{identity.rig}" if identity.rig else "no rig"
        return f"{identity.agent} works on {home}, not on {namespace}/{rig}; push there, or file a bead for this rig"
    return f"an agent of role {identity.role} has no branches; let a polecat or crew agent do the change"


def _of_other_bead(identity: Identity, own: str, rest: str) -> str | None:
    is_branch, bead = own.startswith(ref_names.POLECAT_BRANCHES), identity.bead
    name = rest if is_branch else rest.removeprefix(CHECKPOINTS)
    is_start = (is_branch and "/" not in name) or (own.startswith(ref_names.AGENTS) and rest.startswith(CHECKPOINTS))
    if not is_start or name == bead:
        return None
    if not bead:
        # A polecat's token that is bound to no pod was made by somebody who may do all that the agent may.
        return None if identity.role == "polecat" else f"sessions go on from refs below {own}{CHECKPOINTS}; push to {own}<name>"
    return f"this session works on {bead}; push to {own}{'' if is_branch else CHECKPOINTS}{bead}" + (
        f", or below {own}{name}/" if is_branch else ""
    )


def _not_own(ref: str, own_branches: str) -> str:
    if ref.startswith((*_BRANCH_FOLDERS.values(), ref_names.AGENTS)):
        return f"it belongs to another agent; push to {own_branches}<bead>"
    if ref_names.is_protected(ref):
        return f"only the refinery moves this branch, after its gates; push to {own_branches}<bead> and run `gt done`"
    if ref.startswith("refs/tags/"):
        return f"tags are not made here; push a branch to {own_branches}<bead>"
    return f"only the town writes this ref; push to {own_branches}<bead>"
