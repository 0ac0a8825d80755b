"""The texts and authors of the refinery's commits. They depend on the MergeRequest alone: the same stack gives the same commit ids."""

from __future__ import annotations

from collections.abc import Sequence

from gastown.api.merge_request import MergeRequest
from gastown.api.names import display_actor
from gastown.api.text import plain
from gastown.decide.times import unix_seconds
from gastown_git.ref_names import ObjectId
from gastown_git.repository import Author

SUBJECT_LIMIT = 200


def subject_of(message: str) -> str:
    """First line of an agent's commit message, fit to stand in main's own history and in a status."""
    return plain(message.partition("\n")[0], SUBJECT_LIMIT)


def merge_author(mr: MergeRequest) -> Author:
    """The agent that submitted, at the time of submission."""
    actor = display_actor("polecat", mr.spec.rigName, mr.spec.agentName)
    email = f"{mr.spec.agentName}@{mr.metadata.namespace}.gastown.invalid"
    return Author(actor, email, int(unix_seconds(mr.metadata.creationTimestamp) or 0))


def merge_message(mr: MergeRequest, subject: str) -> str:
    """Text of the merge commit inside a candidate."""
    return f"Merge {mr.spec.beadName}: {subject}\n\n{_trailers(mr)}"


def capsule_message(members: Sequence[MergeRequest], subjects: Sequence[str], tree: ObjectId, digest: str) -> str:
    """Text of the commit that main receives.

    Args:
        subjects: First lines of the members' heads, in the same order.
    """
    if len(members) == 1:
        first = f"Land {members[0].spec.beadName}: {subjects[0]}"
    else:
        first = f"Land {len(members)} beads: {', '.join(mr.spec.beadName for mr in members)}"
    listed = (
        "" if len(members) == 1 else "".join(f"{mr.spec.beadName}: {text}\n" for mr, text in zip(members, subjects, strict=True)) + "\n"
    )
    return f"{first}\n\n{listed}{''.join(_trailers(mr) for mr in members)}Gated-Tree: {tree}\nGate-Digest: {digest}\n"


def _trailers(mr: MergeRequest) -> str:
    convoy = f"Convoy: {mr.spec.convoyName}\n" if mr.spec.convoyName else ""
    return f"Merge-Request: {mr.metadata.name}\nBead: {mr.spec.beadName}\nAgent: {mr.spec.agentName}\n{convoy}"


def names_request(message: str, name: str) -> bool:
    """Whether a commit of main says that it brought this request in."""
    return f"Merge-Request: {name}" in message.splitlines()
