"""Ends the work on a bead: `gt done`, and the harness for agents that do not call it.

Every step can be repeated, and a kill between any two of them is healed by calling again: the push is of an exact commit, and the
MergeRequest is named after it. Nothing is ever committed here: what an agent did not commit it may not have meant to deliver.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gastown.api import labels
from gastown.api.bead import CLOSED as STATE_CLOSED
from gastown.api.bead import DELIVERY_NONE, Bead
from gastown.api.codec import from_dict
from gastown.api.kinds import BEAD, MERGE_REQUEST
from gastown.api.merge_request import OVER_WITHOUT_LANDING, MergeRequest, MergeRequestSpec
from gastown.api.meta import ObjectMeta
from gastown.api.names import checkpoint_ref, merge_request_name
from gastown.api.rig import Gate
from gastown.api.text import plain
from gastown.kube.errors import AlreadyExists, NotFound
from gastown.polecat import result as results
from gastown.polecat.checkpoint import closing_commit
from gastown.polecat.errors import Refused
from gastown.polecat.gates import run_gates
from gastown.polecat.git import REMOTE_SECONDS, Git, GitError, last_words
from gastown.polecat.patience import Surroundings, patiently
from gastown.polecat.result import Result

_NAMED_FILES = 20
_CLAIMS_LIMIT = 16  # of the CRD


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What is handed in.

    Attributes:
        branch: Without refs/heads/.
        close_reason: Of a bead that delivers no commit.
    """

    namespace: str
    rig: str
    agent: str
    bead: str
    branch: str
    target: str
    worktree: Path
    gates: Sequence[Gate] = field(default_factory=tuple)
    skip_gates: bool = False
    close_reason: str = ""


def submit(work: Submission, around: Surroundings) -> Result:
    """Hand in what is committed, or close a bead that delivers nothing.

    Returns:
        Outcome Submitted, NoChange or Closed.

    Raises:
        Refused: Something has to be put right first (dirty tree, red gate, wrong branch, refused push): nothing was handed in.
        Unreachable: A server was away for too long; call again.
        Interrupted: The session stops; call again.
    """
    bead = read_bead(work.namespace, work.bead, around)
    if bead.spec.delivery == DELIVERY_NONE:
        return _close(work, bead, around)
    git = Git(work.worktree, is_interrupted=around.is_interrupted)
    head = _committed_head(git, work)
    name = merge_request_name(work.bead, head)
    if bead.spec.assignee != work.agent:
        return _submitted_before(work, bead, name, head, around)
    if no_change := _no_change(git, work, head):
        return no_change
    if bead.status.mergeRequestName == name and (over := _over(work, name, head, around)):
        return over
    claims = ["gates skipped"] if work.skip_gates else run_gates(git, head, work.gates, around.report, around.is_interrupted)
    _push(git, work, head, around)
    return _request_merge(work, bead, name, head, ["tree clean", *claims][:_CLAIMS_LIMIT], around)


def read_bead(namespace: str, bead_id: str, around: Surroundings) -> Bead:
    """The bead as it is now.

    Raises:
        Refused: There is none.
        Unreachable: No answer in time.
    """
    return from_dict(Bead, patiently(f"bead {bead_id}", lambda: around.client.get(BEAD, namespace, bead_id), around))


def changed_files(git: Git) -> list[str]:
    """Files and folders that are neither committed nor ignored."""
    fields = git.run("status", "--porcelain=v1", "-z", "--untracked-files=normal", "--no-renames").output.split(b"\0")
    return [os.fsdecode(entry[3:]).encode("utf-8", "replace").decode() for entry in fields if entry]


def _committed_head(git: Git, work: Submission) -> str:
    branch = git.text("symbolic-ref", "--quiet", "--short", "HEAD", allow=(0, 1))
    if branch != work.branch:
        raise Refused(
            f"worktree {work.worktree}",
            f"is on {branch or 'no branch (a rebase, or a detached HEAD?)'}, not on {work.branch}",
            remedy=f"bring your commits to {work.branch} and switch to it",
            reason="WrongBranch",
        )
    if dirty := changed_files(git):
        named = ", ".join(plain(path) for path in dirty[:_NAMED_FILES])
        more = f" and {len(dirty) - _NAMED_FILES} more" if len(dirty) > _NAMED_FILES else ""
        raise Refused(
            f"worktree {work.worktree}",
            f"has changes that are not committed: {named}{more}",
            remedy="commit what belongs to the bead, remove or ignore the rest, and run gt done again",
            reason="DirtyTree",
        )
    return git.text("rev-parse", "HEAD")


def _no_change(git: Git, work: Submission, head: str) -> Result | None:
    """A result when nothing was added to the target branch; commits of an earlier session count as added."""
    target = git.find_commit(f"refs/remotes/origin/{work.target}")
    if not target:
        return None
    if git.is_ancestor(head, target):
        return Result(outcome=results.NO_CHANGE, reason="NoChange", head=head, message=f"nothing was committed beyond {work.target}")
    if git.succeeds("diff", "--quiet", "--no-ext-diff", f"{target}...{head}"):
        message = f"the commits change nothing against {work.target}"
        return Result(outcome=results.NO_CHANGE, reason="EmptyChange", head=head, message=message)
    return None


def _push(git: Git, work: Submission, head: str, around: Surroundings) -> None:
    # Forced, since rework may rebase; the server keeps the tip that goes.
    refs = [f"+{head}:refs/heads/{work.branch}"]
    own_checkpoint = checkpoint_ref(work.agent, work.bead)
    closing = closing_commit(git, work.agent, work.bead, head)
    if closing:
        refs.append(f"+{closing}:{own_checkpoint}")
    arguments = ("push", "--porcelain", "--no-verify", "origin", *refs)

    def push() -> None:
        done = git.run(*arguments, deadline_seconds=REMOTE_SECONDS, allow=(0, 1, 128))
        lines = done.output.decode("utf-8", "replace").splitlines()
        if refusal := next((line for line in lines if line.startswith("!\t")), ""):
            raise Refused(f"branch {work.branch}", f"the push was refused: {plain(refusal.rpartition(chr(9))[2])}", reason="PushRefused")
        if done.exit_code != 0:
            raise GitError("push", done.exit_code, last_words(done.error))

    around.report(f"push: {head[:12]} to {work.branch}")
    patiently(f"branch {work.branch}", push, around)
    git.run("update-ref", f"refs/remotes/origin/{work.branch}", head)
    if closing:
        git.run("update-ref", own_checkpoint, closing)


def _request_merge(work: Submission, bead: Bead, name: str, head: str, claims: list[str], around: Surroundings) -> Result:
    convoy = bead.metadata.labels.get(labels.CONVOY, "")
    marks = {labels.AGENT: work.agent, labels.BEAD: work.bead, labels.RIG: work.rig, **({labels.CONVOY: convoy} if convoy else {})}
    spec = MergeRequestSpec(
        rigName=work.rig,
        beadName=work.bead,
        agentName=work.agent,
        convoyName=convoy,
        head=head,
        branch=work.branch,
        target=work.target,
        priority=bead.spec.priority,
        claims=claims,
    )
    request = MergeRequest(metadata=ObjectMeta(name=name, namespace=work.namespace, labels=marks), spec=spec)
    try:
        patiently(f"merge request {name}", lambda: around.client.create(MERGE_REQUEST, request), around)
        around.report(f"merge request {name}: created")
    except AlreadyExists:
        if stranger := _stranger(work, name, around):
            # Of the same name only by intent, or of a former holder whose very commit this is: the queue would not take it for ours.
            remedy = "git commit --amend gives the commit, and so the request, a name of its own; then run gt done again"
            raise Refused(f"merge request {name}", f"is there already, from {stranger}", remedy=remedy, reason="NameTaken") from None
        if over := _over(work, name, head, around):
            return over
    message = f"merge request {name} for {head[:12]}"
    return Result(outcome=results.SUBMITTED, reason="Submitted", merge_request=name, head=head, message=message)


def _find_request(work: Submission, name: str, around: Surroundings) -> dict[str, Any]:
    """The merge request as it is now; {} when there is none."""

    def look() -> dict[str, Any]:
        try:
            return around.client.get(MERGE_REQUEST, work.namespace, name)
        except NotFound:
            return {}

    return patiently(f"merge request {name}", look, around)


def _stranger(work: Submission, name: str, around: Surroundings) -> str:
    """Whose merge request it is, if not ours."""
    agent = str(_find_request(work, name, around).get("spec", {}).get("agentName", work.agent))
    return "" if agent == work.agent else agent


def _over(work: Submission, name: str, head: str, around: Surroundings) -> Result | None:
    """A result when exactly this commit was handed in before and came back."""
    phase = str(_find_request(work, name, around).get("status", {}).get("phase", ""))
    if phase not in OVER_WITHOUT_LANDING:
        return None
    message = f"commit {head[:12]} was handed in before as {name}, which is {phase}; commit something new"
    return Result(outcome=results.NO_CHANGE, reason="AlreadyJudged", head=head, message=message)


def _submitted_before(work: Submission, bead: Bead, name: str, head: str, around: Surroundings) -> Result:
    """The bead is not on our hook: fine if that is so because this very commit was handed in by us."""
    if _find_request(work, name, around).get("spec", {}).get("agentName") == work.agent:
        message = f"merge request {name} was there before"
        return Result(outcome=results.SUBMITTED, reason="Submitted", merge_request=name, head=head, message=message)
    raise _not_on_hook(work, bead, f"see `bd show {work.bead}`; your commits stay in {work.branch}")


def _close(work: Submission, bead: Bead, around: Surroundings) -> Result:
    if bead.spec.state != STATE_CLOSED:
        if bead.spec.assignee != work.agent:
            raise _not_on_hook(work, bead, f"see `bd show {work.bead}`")
        patch = {"spec": {"state": STATE_CLOSED, "closeReason": work.close_reason or f"done by {work.agent}"}}
        patiently(f"bead {work.bead}", lambda: around.client.merge_patch(BEAD, work.namespace, work.bead, patch), around)
        around.report(f"bead {work.bead}: closed")
    return Result(outcome=results.CLOSED, reason="Closed", message=f"bead {work.bead} is closed")


def _not_on_hook(work: Submission, bead: Bead, remedy: str) -> Refused:
    happened = f"is not on the hook of {work.agent} but of {bead.spec.assignee or 'nobody'}"
    return Refused(f"bead {work.bead}", happened, remedy=remedy, reason="NotAssigned")
