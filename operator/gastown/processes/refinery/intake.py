"""Taking a submitted head in: check that it is on its branch, pin it, count what it changes."""

from __future__ import annotations

from gastown.api import reasons
from gastown.api.merge_request import MergeRequest, MergeRequestStatus
from gastown.processes.refinery import statuses
from gastown_git.errors import GitopsError
from gastown_git.ref_names import branch_ref
from gastown_git.refs import ObjectMissing, RefMoved
from gastown_git.repository import Repository


def take_in(repository: Repository, seen: MergeRequest, main: str, now_time: str) -> MergeRequestStatus:
    """Pin the head and say so, or say why not; repeating it changes nothing. Blocks: call it in a thread.

    The head must be reachable from the branch the request names: only the branch's owner may push there, so a request can not
    submit what another agent keeps to itself.
    """
    name, head = seen.metadata.name, seen.spec.head
    try:
        if repository.refs.find(f"refs/mr/{name}") != head:
            tip = repository.refs.find(branch_ref(seen.spec.branch))
            if tip is None or not repository.exists(head):
                message = f"commit {head} or branch {seen.spec.branch} is not in the rig's repository; push the branch, then submit again"
                return statuses.not_pinned(seen, reasons.HEAD_NOT_FOUND, message, now_time)
            if not repository.is_ancestor(head, tip):
                message = f"{head} is not reachable from {seen.spec.branch} at {tip}; push the commit on that branch, then submit again"
                return statuses.not_pinned(seen, reasons.HEAD_NOT_ON_BRANCH, message, now_time)
            repository.pin_merge_request(name, head)
        return statuses.pinned(seen, len(repository.changed_paths(main, head)), now_time)
    except (RefMoved, ObjectMissing, ValueError) as error:
        return statuses.not_pinned(seen, reasons.HEAD_NOT_FOUND, str(error), now_time)
    except GitopsError as error:
        return statuses.not_pinned(seen, reasons.HEAD_NOT_FOUND, str(error), now_time)
