"""Merging without a worktree: git's own engine (ort) gives tree or conflict, pygit2 makes the commit.

One short child per merge: about 5 ms with a commit-graph, whatever the size of the tree. libgit2's merge is not used: of 30,403
recorded merges it called 12 clean where git sees a conflict.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gastown_git import ref_names
from gastown_git.conflict_hunks import Hunk, bounded, hunks_of
from gastown_git.errors import GitopsError
from gastown_git.git_process import run_git
from gastown_git.raw_tree import find_file
from gastown_git.ref_names import ObjectId
from gastown_git.repository import Author, Repository

MERGE_TIMEOUT_SECONDS = 120.0

_CONFLICT_EXIT_CODE = 1
_FATAL_EXIT_CODE = 128
_MAX_MESSAGE_LENGTH = 4000
# Where hunks are looked for: the first files in conflict, if they are not so big that nobody reconciles their lines by eye.
_MAX_HUNK_FILES = 64
_MAX_HUNK_FILE_BYTES = 1 << 20
_UNRELATED = "refusing to merge unrelated histories"


class MergeFailed(GitopsError):
    """git could neither merge nor name a conflict; the repository needs a look."""


@dataclass(frozen=True)
class MergedTree:
    """The merge is clean.

    Attributes:
        tree: What it gives; stored in the repository.
    """

    tree: ObjectId


@dataclass(frozen=True)
class MergeConflict:
    """The merge is not clean.

    Attributes:
        files: Paths in conflict, sorted; empty when the histories have nothing in common.
        message: git's own words, a line per conflict, at most 4,000 characters.
        hunks: The first places where both sides changed the same lines; none of binary, deleted or renamed files.
    """

    files: tuple[str, ...]
    message: str
    hunks: tuple[Hunk, ...] = ()


@dataclass(frozen=True)
class Head:
    """One merge request's work, as it is stacked on a base.

    Attributes:
        commit: Tip of the work.
        author: In whose name the merge commit is made. Its time must come from the merge request, not from a clock:
            only then do a restart and a replay make the very same commit.
        message: Text of the merge commit.
    """

    commit: ObjectId
    author: Author
    message: str


@dataclass(frozen=True)
class Stack:
    """Heads stacked on a base, one merge commit each.

    Attributes:
        commit: The topmost merge commit; the base itself when it contained every head before.
        tree: Its tree.
    """

    commit: ObjectId
    tree: ObjectId


@dataclass(frozen=True)
class StackConflict:
    """A head that does not merge with what lies below it.

    Attributes:
        position: Index of that head in the list given to `stack`.
        conflict: Files and git's words.
    """

    position: int
    conflict: MergeConflict


def merge(repository: Repository, ours: ObjectId, theirs: ObjectId) -> MergedTree | MergeConflict:
    """Merge two commits in memory; only objects are written, no ref moves.

    Args:
        repository: Where both commits are.
        ours: The side merged into.
        theirs: The side merged.

    Returns:
        The tree, or the conflict.

    Raises:
        ObjectMissing: One of the commits is not in the repository.
        MergeFailed, GitFailed: Neither clean nor a conflict; the repository needs a look.
        GitTimedOut: The machine was too busy; try again.
    """
    for commit in (ours, theirs):
        repository.commit(commit)  # git 2.39 answers a missing commit with the exit code of a conflict
    result = run_git(
        ["merge-tree", "--write-tree", "--name-only", "--messages", "-z", ours, theirs],
        repository=repository.path,
        timeout_seconds=MERGE_TIMEOUT_SECONDS,
        # a directory renamed on one side and files added to it on the other is for people: git's own default, stated
        # and what was there before either side touched it tells what each of them meant
        configuration=[("merge.directoryRenames", "conflict"), ("merge.conflictStyle", "zdiff3")],
        expected_exit_codes=(0, _CONFLICT_EXIT_CODE, _FATAL_EXIT_CODE),
    )
    if _UNRELATED in result.error_text:
        return MergeConflict((), f"{theirs} and {ours} have no common history; start the work from the branch it is meant for")
    fields = result.output.split(b"\0")
    tree = fields[0].decode("ascii", "replace")
    if not ref_names.is_object_id(tree):
        raise MergeFailed(
            f"merging {theirs} into {ours} in {repository.path}", result.error_text, remedy="check the repository with git fsck"
        )
    if result.exit_code == 0:
        return MergedTree(tree)
    end_of_files = fields.index(b"", 1)
    paths = sorted(set(fields[1:end_of_files]))
    hunks = bounded(_hunks(repository, tree, paths, ours, theirs))
    files = tuple(path.decode("utf-8", "surrogateescape") for path in paths)
    return MergeConflict(files, _conflict_lines(fields[end_of_files + 1 :]), hunks)


def stack(repository: Repository, base: ObjectId, heads: Sequence[Head]) -> Stack | StackConflict:
    """Stack heads on a base with real merge commits, so that every head is an ancestor of the result.

    Args:
        repository: Where base and heads are.
        base: Commit to start from.
        heads: In the order of merging.

    Returns:
        The stack, the same id for the same arguments; or the first head in conflict.

    Raises:
        ObjectMissing, MergeFailed, GitFailed, GitTimedOut: see `merge`.
    """
    below = Stack(base, repository.tree_of(base))
    for position, head in enumerate(heads):
        if repository.is_ancestor(head.commit, below.commit):
            continue
        merged = merge(repository, below.commit, head.commit)
        if isinstance(merged, MergeConflict):
            return StackConflict(position, merged)
        commit = repository.write_commit(tree=merged.tree, parents=[below.commit, head.commit], author=head.author, message=head.message)
        below = Stack(commit, merged.tree)
    return below


def _hunks(repository: Repository, tree: ObjectId, paths: Sequence[bytes], ours: ObjectId, theirs: ObjectId) -> Iterator[Hunk]:
    """The conflicts of the first files, from the tree with markers that git leaves of a merge that is not clean."""
    for path in paths[:_MAX_HUNK_FILES]:
        blob = find_file(repository, tree, path)
        if blob is not None and repository.size(blob) <= _MAX_HUNK_FILE_BYTES:
            yield from hunks_of(path.decode("utf-8", "surrogateescape"), repository.read(blob), ours, theirs)


def _conflict_lines(fields: list[bytes]) -> str:
    """Pick git's conflict messages from fields of the form: number of paths, the paths, kind, message."""
    lines = []
    position = 0
    while position < len(fields) and fields[position].isdigit():
        kind_at = position + 1 + int(fields[position])
        kind, text = fields[kind_at], fields[kind_at + 1]
        if kind.startswith(b"CONFLICT"):
            lines.append(text.decode("utf-8", "replace").strip())
        position = kind_at + 2
    return "\n".join(lines)[:_MAX_MESSAGE_LENGTH]
