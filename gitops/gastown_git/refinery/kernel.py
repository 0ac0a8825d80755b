"""The kernel: the only code that moves main. Everything else in the refinery may be wrong without main ever turning red.

A *candidate* is a commit that stacks merge requests on a base. A *capsule* is what main receives for it: a commit with the
candidate's tree and the parents [main before, candidate].

    anchor(main) = second parent of main, if main has exactly two parents and the same tree as the second; else main itself

    land(c)  requires  a recorded green verdict for exactly tree(c) under the present gate digest     (1)
                       anchor(main) is an ancestor of c                                               (2)
                       every merge request's head is an ancestor of c                                 (3)
             then      M = commit(tree(c), parents = [main, c]);  compare-and-swap main -> M          (4)

Claim A: from the adoption on, the tree of every first-parent commit of main has passed its gates. `land` is the only writer; what
it installs has tree(c), which passed (1); its first parent is the main it replaced, by compare-and-swap (4). By induction over
the landings only the adopted commit may be ungated.

Claim B: nothing on main is dropped. c contains anchor(main) by (2) and its tree is the result of merging onto it. The anchor has
the very tree of main: by definition if main is a capsule, trivially else. So no content of main is missing below c, and M keeps
main itself as first parent. If main moved after it was read, the swap fails and nothing happened.

Claim C: no work is lost. By (3) and M's second parent every head is an ancestor of main, so "landed" is a fact of the graph that
anybody can check later (`is_ancestor(head, main)`), and the condition for deleting anything.

What the claims do not need: a sane planner, truthful agents, a single refinery, a process that is not killed. A second `land` of
the same candidate finds anchor(main) = c and changes nothing. A gate that passes wrongly is out of scope, and so is the emergency
stop: the caller asks about it before calling.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from gastown_git.errors import GitopsError
from gastown_git.ref_names import ObjectId, branch_ref
from gastown_git.refinery.evidence import find_evidence
from gastown_git.refs import RefMoved
from gastown_git.repository import Author, Repository


class NotGated(GitopsError):
    """No green verdict is recorded for this tree under these gates. Gate it, then call again."""


class NotContained(GitopsError):
    """A head is not an ancestor of the candidate: it was built wrongly. Build it anew."""


class MainMoved(GitopsError):
    """Main is not what the candidate was built on; nothing changed. Plan again from the new tip."""


class NoSuchBranch(GitopsError):
    """The branch does not exist: the rig is not adopted yet."""


def anchor(repository: Repository, main: ObjectId) -> ObjectId:
    """Commit to stack candidates on: what main's tip stands for.

    Args:
        main: Tip of main.

    Returns:
        The candidate inside a capsule, else main. Its tree is main's either way, so candidates stacked on a candidate in
        flight stay valid when that one lands.
    """
    tip = repository.commit(main)
    if len(tip.parents) == 2 and repository.tree_of(tip.parents[1]) == tip.tree:
        return tip.parents[1]
    return main


def land(
    repository: Repository,
    branch: str,
    candidate: ObjectId,
    heads: Iterable[ObjectId],
    gate_digest: str,
    author: Author,
    message: str,
) -> ObjectId:
    """Move main to a candidate whose exact tree has passed its gates. Ask about the emergency stop before.

    Args:
        repository: The rig's repository.
        branch: Name of the protected branch, such as `main`.
        candidate: Commit that stacks the heads; anchor(main) must be its ancestor.
        heads: The merge requests' heads, as submitted.
        gate_digest: SHA-256 of the rig's present list of gates, in hex.
        author: The refinery, and the time of landing.
        message: Text of the capsule: what landed.

    Returns:
        Tip of main; its tree is the candidate's. The present one, unmoved, when this candidate is what main stands for already.

    Raises:
        NotGated: No green verdict for this tree. Gate it, then call again.
        NotContained: A head is missing from the candidate. Build it anew.
        MainMoved: Another writer was first, or main is not below the candidate; nothing changed. Plan again.
        NoSuchBranch: Adopt the rig first.
    """
    main = repository.refs.find(branch_ref(branch))
    if main is None:
        raise NoSuchBranch(branch, "does not exist", remedy="adopt the rig first")
    tree = repository.tree_of(candidate)
    evidence = find_evidence(repository, gate_digest, tree)
    if evidence is None or not evidence.is_green:
        raise NotGated(f"candidate {candidate}", f"tree {tree} has no green verdict under gates {gate_digest[:12]}", remedy="gate it first")
    base = anchor(repository, main)
    if not repository.is_ancestor(base, candidate):
        raise MainMoved(f"{branch} at {main}", f"candidate {candidate} does not contain it", remedy="plan again from the new tip")
    for head in heads:
        if not repository.is_ancestor(head, candidate):
            raise NotContained(f"candidate {candidate}", f"does not contain head {head}", remedy="build it anew")
    if base == candidate:
        return main
    capsule = repository.write_commit(tree=tree, parents=[main, candidate], author=author, message=message)
    try:
        repository.refs.move_protected_branch(branch_ref(branch), new=capsule, expected=main)
    except RefMoved as error:
        raise MainMoved(
            f"{branch} at {error.found}", f"moved while {candidate} was landing", remedy="plan again from the new tip"
        ) from error
    return capsule


def adopt(repository: Repository, branch: str, commit: ObjectId) -> ObjectId:
    """Create main at the commit a rig is adopted at; where main exists it stays as it is.

    This commit is the one first-parent commit of main that may be ungated: it was somebody else's main before.

    Returns:
        Tip of main.
    """
    repository.commit(commit)
    with contextlib.suppress(RefMoved):
        repository.refs.move_protected_branch(branch_ref(branch), new=commit, expected=None)
    return repository.refs.find(branch_ref(branch)) or commit
