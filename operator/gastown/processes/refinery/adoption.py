"""A rig's repository: made once, its main taken from the upstream at adoption, later landings pushed back there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gastown.api import reasons
from gastown.api.meta import Condition
from gastown.api.rig import Rig
from gastown_git.errors import GitopsError
from gastown_git.layout import repository_path
from gastown_git.ref_names import branch_ref
from gastown_git.refinery import kernel
from gastown_git.repository import Repository
from gastown_git.upstream import check_upstream_url, fetch_branch, push_branch


@dataclass(frozen=True, slots=True)
class Adopted:
    """What is known of a rig's repository.

    Attributes:
        repository: None when it could not even be made.
        main: Tip of the rig's branch, "" before adoption.
        ready: Condition RepositoryReady, with the remedy when it is False.
    """

    repository: Repository | None
    main: str
    ready: Condition


def adopt(data: Path, rig: Rig, local_upstreams: Path | None) -> Adopted:
    """Make sure the rig's repository and its main exist. Blocks: call it in a thread.

    Deleting the Rig deletes nothing here, so a Rig made again under its name finds its main again.
    """
    path = repository_path(data, rig.metadata.namespace, rig.metadata.name)
    branch = rig.spec.git.branch
    try:
        repository = Repository.create(path, branch=branch)
        main = repository.refs.find(branch_ref(branch))
        if main is None and rig.spec.git.upstream:
            check_upstream_url(rig.spec.git.upstream, local_upstreams=local_upstreams)
            main = kernel.adopt(repository, branch, fetch_branch(repository, rig.spec.git.upstream, branch))
    except (GitopsError, OSError) as error:
        return Adopted(None, "", _not_ready(rig, reasons.FETCH_FAILED, str(error)))
    if main is None:
        message = f"branch {branch} does not exist yet; set spec.git.upstream to a repository that has it"
        return Adopted(repository, "", _not_ready(rig, reasons.NO_UPSTREAM, message))
    message = f"{branch} is adopted"
    said = Condition(type="", status="True", reason=reasons.REPOSITORY_CREATED, message=message, observedGeneration=rig.metadata.generation)
    return Adopted(repository, main, said)


def publish(repository: Repository, rig: Rig, main: str, local_upstreams: Path | None) -> tuple[str, str, str]:
    """Push main to the upstream; returns condition Published as (status, reason, message). Blocks: call it in a thread."""
    url = rig.spec.git.upstream
    if not url:
        return "False", reasons.NO_UPSTREAM, "the rig has no upstream; main lives in the town's repository only"
    try:
        check_upstream_url(url, local_upstreams=local_upstreams)
        push_branch(repository, url, rig.spec.git.branch, main)
    except (GitopsError, OSError) as error:
        return "False", reasons.PUSH_FAILED, str(error)
    return "True", reasons.PUSHED, f"{rig.spec.git.branch} of the upstream contains it"


def _not_ready(rig: Rig, reason: str, message: str) -> Condition:
    return Condition(type="", status="False", reason=reason, message=message, observedGeneration=rig.metadata.generation)
