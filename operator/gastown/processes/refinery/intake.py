"""Taking a submitted head in: check that it is its agent's, on its branch and fit for a gate, pin it, count what it changes."""

from __future__ import annotations

from gastown.api import reasons
from gastown.api.merge_request import MergeRequest, MergeRequestStatus
from gastown.api.rig import Rig
from gastown.api.text import escaped
from gastown.processes.refinery import statuses
from gastown_git.errors import GitopsError
from gastown_git.head_inspection import HeadLimits, find_problem
from gastown_git.ref_names import CREW_BRANCHES, POLECAT_BRANCHES, branch_ref
from gastown_git.repository import Repository

LIMITS = HeadLimits()


def take_in(repository: Repository, seen: MergeRequest, rig: Rig, main: str, now_time: str) -> MergeRequestStatus:
    """Pin the head and say so, or say why not; repeating it changes nothing. Blocks: call it in a thread.

    The head must be reachable from the branch the request names: only the branch's owner may push there, so a request can not
    submit what another agent keeps to itself.
    """
    name, head = seen.metadata.name, seen.spec.head
    if problem := _wrong_branch(seen, rig):
        return statuses.not_pinned(seen, reasons.WRONG_BRANCH, problem, now_time)
    try:
        if repository.refs.find(f"refs/mr/{name}") != head:
            tip = repository.refs.find(branch_ref(seen.spec.branch))
            if tip is None or not repository.exists(head):
                message = f"commit {head} or branch {seen.spec.branch} is not in the rig's repository; push the branch, then submit again"
                return statuses.not_pinned(seen, reasons.HEAD_NOT_FOUND, message, now_time)
            if not repository.is_ancestor(head, tip):
                message = f"{head} is not reachable from {seen.spec.branch} at {tip}; push the commit on that branch, then submit again"
                return statuses.not_pinned(seen, reasons.HEAD_NOT_ON_BRANCH, message, now_time)
            if problem := find_problem(repository, repository.merge_base(main, head), head, LIMITS):
                message = f"no gate could unpack {head}: {escaped(problem)}; take that out of the branch, then submit the new head"
                return statuses.not_pinned(seen, reasons.UNUSABLE_TREE, message, now_time)
            repository.pin_merge_request(name, head)
        return statuses.pinned(seen, len(repository.changed_paths(main, head)), now_time)
    except (GitopsError, ValueError) as error:
        return statuses.not_pinned(seen, reasons.HEAD_NOT_FOUND, str(error), now_time)


def _wrong_branch(seen: MergeRequest, rig: Rig) -> str:
    """Admission says the same of what agents create; here it holds for everybody, and where there is no admission policy."""
    spec = seen.spec
    own = [branches.removeprefix("refs/heads/") + spec.agentName for branches in (POLECAT_BRANCHES, CREW_BRANCHES)]
    parts = spec.branch.split("/")
    if "/".join(parts[:2]) not in own or len(parts) < 3 or not {"", ".", ".."}.isdisjoint(parts):
        return f"{spec.branch} is no branch of {spec.agentName}; push to {own[0]}/{spec.beadName}, then submit that"
    if spec.target != rig.spec.git.branch:
        return f"rig {rig.metadata.name} lands on {rig.spec.git.branch} only, not on {spec.target}; submit again without target"
    return ""
