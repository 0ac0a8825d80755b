"""One bare repository and its owner: objects, history and refs (refs.py). Called by the refinery, the server and maintenance.

pygit2 reads and writes; what it can not do (merge as git does, fetch, repack) is in merge.py, upstream.py and maintenance.py.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import secrets
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pygit2
from pygit2.enums import ConfigLevel, RepositoryOpenFlag

from gastown_git import ref_names
from gastown_git.errors import GitopsError
from gastown_git.ref_names import ObjectId
from gastown_git.refs import ObjectMissing, RefStore
from gastown_git.repository_settings import MAX_PUSH_BYTES, repository_settings

# What old histories declare. No others: some of Python's codecs run escapes, or take time that grows with the square of the text.
_OLD_ENCODINGS = frozenset(
    {"iso-8859-1", "latin1", "iso-8859-2", "iso-8859-15", "cp1250", "cp1251", "cp1252", "windows-1251", "windows-1252", "koi8-r"}
    | {"big5", "euc-jp", "euc-kr", "gb18030", "gb2312", "gbk", "shift_jis", "sjis"}
)


class NoSuchRepository(GitopsError):
    """There is no bare repository at this path; create it first."""


@dataclass(frozen=True)
class Author:
    """Who made a commit and when.

    Attributes:
        time: Seconds since 1970, UTC. Given by the caller, never read from a clock here: the same arguments make the same commit.
    """

    name: str
    email: str
    time: int


@dataclass(frozen=True)
class Commit:
    """What a commit object says; bytes that are no text of the encoding it declares are replaced."""

    commit: ObjectId
    tree: ObjectId
    parents: tuple[ObjectId, ...]
    author: Author
    message: str


class Repository:
    """A bare repository that this process may write.

    Args:
        path: Folder of an existing bare repository; see `create` and `open`.
    """

    def __init__(self, path: Path) -> None:
        _isolate_libgit2()
        try:
            self._git = pygit2.Repository(str(path), RepositoryOpenFlag.NO_SEARCH | RepositoryOpenFlag.BARE)
        except pygit2.GitError as error:
            raise NoSuchRepository(str(path), f"not a bare repository: {error}", remedy="create it with Repository.create") from error
        self.path = path
        self.refs = RefStore(self._git)

    @classmethod
    def open(cls, path: Path) -> Repository:
        """Open an existing repository.

        Raises:
            NoSuchRepository: Create it first.
        """
        return cls(path)

    @classmethod
    def create(cls, path: Path, *, branch: str = "main", max_push_bytes: int = MAX_PUSH_BYTES) -> Repository:
        """Create a bare repository, or open the one that is there; either way it is configured as this version wants it.

        A folder appears under its name only when complete, so a crash in between leaves nothing half-made behind.

        Args:
            path: Where; parents are made.
            branch: What HEAD names, which clones check out.
            max_push_bytes: Limit for one pushed pack.
        """
        _isolate_libgit2()
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            # Under a name of its own: what a killed creation left behind may hold locks, and libgit2 waits for none.
            unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}.unfinished")
            pygit2.init_repository(str(unfinished), bare=True, initial_head=branch)
            _configure(unfinished, max_push_bytes)
            with contextlib.suppress(FileExistsError):  # another was faster: its repository is as good
                _rename(unfinished, path)
            for leftover in path.parent.glob(f".{path.name}.*unfinished"):
                shutil.rmtree(leftover, ignore_errors=True)
        else:
            _configure(path, max_push_bytes)
        return cls(path)

    # -- objects

    def exists(self, object_id: ObjectId) -> bool:
        """Tell whether the object is in the repository."""
        return ref_names.is_object_id(object_id) and object_id in self._git

    def commit(self, commit: ObjectId) -> Commit:
        """Read a commit.

        Raises:
            ObjectMissing: No such object, or not a commit.
        """
        found = self._git.get(commit) if ref_names.is_object_id(commit) else None
        if not isinstance(found, pygit2.Commit):
            raise ObjectMissing(f"commit {commit}", "not in the repository", remedy="push or fetch it first")
        said, encoding = found.author, found.message_encoding
        author = Author(_decoded(said.raw_name, encoding), _decoded(said.raw_email, encoding), said.time)
        message = _decoded(found.raw_message, encoding)
        return Commit(str(found.id), str(found.tree_id), tuple(str(parent) for parent in found.parent_ids), author, message)

    def tree_of(self, commit: ObjectId) -> ObjectId:
        """Id of a commit's tree.

        Raises:
            ObjectMissing: No such commit.
        """
        return self.commit(commit).tree

    def is_tree(self, object_id: ObjectId) -> bool:
        """Tell whether the id names a tree of this repository."""
        return self.exists(object_id) and isinstance(self._git.get(object_id), pygit2.Tree)

    def read(self, object_id: ObjectId) -> bytes:
        """Read an object's raw content; for trees that is git's own binary form.

        Raises:
            ObjectMissing: No such object.
        """
        try:
            return self._git.read(object_id)[1]
        except (KeyError, ValueError) as error:
            raise ObjectMissing(f"object {object_id}", "not in the repository", remedy="push or fetch it first") from error

    def size(self, object_id: ObjectId) -> int:
        """Bytes of an object, without reading it.

        Raises:
            ObjectMissing: No such object.
        """
        try:
            return int(self._git.odb.read_header(pygit2.Oid(hex=object_id))[1])
        except (KeyError, ValueError) as error:
            raise ObjectMissing(f"object {object_id}", "not in the repository", remedy="push or fetch it first") from error

    def write_blob(self, content: bytes) -> ObjectId:
        """Store a blob and give its id."""
        return str(self._git.create_blob(content))

    def write_commit(self, *, tree: ObjectId, parents: Sequence[ObjectId], author: Author, message: str) -> ObjectId:
        """Store a commit that no ref points to yet; author and committer are the same.

        Returns:
            Its id; the same arguments give the same id.
        """
        signature = pygit2.Signature(author.name, author.email, author.time, 0, "utf-8")
        return str(self._git.create_commit(None, signature, signature, message, tree, list(parents)))

    # -- history

    def is_ancestor(self, ancestor: ObjectId, descendant: ObjectId) -> bool:
        """Tell whether one commit is contained in another; a commit contains itself.

        Raises:
            ObjectMissing: One of them is not in the repository.
        """
        if self.commit(ancestor).commit == self.commit(descendant).commit:
            return True
        return self._git.descendant_of(descendant, ancestor)

    def merge_base(self, one: ObjectId, other: ObjectId) -> ObjectId | None:
        """Find a best common ancestor; None when the histories share nothing."""
        found = self._git.merge_base(self.commit(one).commit, self.commit(other).commit)
        return None if found is None else str(found)

    def first_parent_log(self, tip: ObjectId, limit: int | None = None) -> Iterator[Commit]:
        """Walk from a commit through first parents: on main, that is one commit per landing.

        Args:
            tip: Where to start.
            limit: Most commits to give; None for all.
        """
        following: ObjectId | None = tip
        while following is not None and (limit is None or limit > 0):
            found = self.commit(following)
            yield found
            following = found.parents[0] if found.parents else None
            limit = None if limit is None else limit - 1

    def changed_paths(self, target: ObjectId, head: ObjectId) -> list[str]:
        """List the paths that a head changes against its merge base with the target; a rename counts as two.

        Args:
            target: Tip of the branch the head is meant for.
            head: Tip of the work.

        Returns:
            Paths, sorted; bytes that are not UTF-8 as surrogate escapes. Without common history, every path of the head.
        """
        base = self.merge_base(target, head)
        new = self._git[self.commit(head).tree]
        assert isinstance(new, pygit2.Tree)
        if base is None:
            difference = new.diff_to_tree(swap=True)
        else:
            old = self._git[self.commit(base).tree]
            assert isinstance(old, pygit2.Tree)
            difference = old.diff_to_tree(new)
        paths = {file.raw_path for delta in difference.deltas for file in (delta.old_file, delta.new_file)}
        return sorted(path.decode("utf-8", "surrogateescape") for path in paths)

    # -- pins

    def pin_merge_request(self, name: str, head: ObjectId) -> bool:
        """Pin a submitted head under `refs/mr/<name>`, so that it outlives the agent's branch and pod.

        Returns:
            True when this call pinned it, False when it was pinned before.

        Raises:
            RefMoved: The name is pinned to another head.
            ValueError: The name can not be part of a ref.
        """
        if not ref_names.is_resource_name(name):
            rule = "use at most 250 lower-case letters, digits, dots and dashes"
            raise ValueError(f"merge request name {name!r} can not be part of a ref; {rule}")
        self.commit(head)  # a pin to a tag or a tree would pass for work that can be merged
        return self.refs.create(ref_names.merge_request_ref(name), head)

    def keep(self, commit: ObjectId) -> bool:
        """Keep a commit for good under `refs/keep/<commit>`; True when it was not kept before."""
        return self.refs.create(ref_names.keep_ref(commit), commit)

    def hold_candidate(self, commit: ObjectId) -> bool:
        """Keep a candidate's objects while it is in use; True when it was not held before."""
        return self.refs.create(ref_names.candidate_ref(commit), commit)


def _decoded(raw: bytes, encoding: str | None) -> str:
    """Whatever a commit says, as text: a name of an encoding is a stranger's word, and an unknown or untrue one must stop nothing."""
    return raw.decode(encoding if encoding is not None and encoding.lower() in _OLD_ENCODINGS else "utf-8", "replace")


@functools.cache
def _isolate_libgit2() -> None:
    """Make libgit2 ignore the settings of the machine and of the user, and write refs and objects through to the disk."""
    for level in (ConfigLevel.SYSTEM, ConfigLevel.GLOBAL, ConfigLevel.XDG, ConfigLevel.PROGRAMDATA):
        pygit2.settings.search_path[level] = ""
    pygit2.settings.enable_fsync_gitdir(True)  # noqa: FBT003 - pygit2's signature


def _rename(unfinished: Path, path: Path) -> None:
    """Raises FileExistsError when something stands there already."""
    try:
        unfinished.rename(path)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise FileExistsError(error.errno, error.strerror, str(path)) from error
        raise


def _configure(path: Path, max_push_bytes: int) -> None:
    """Bring a repository's own settings in line; what is there already is not written again, so reopening is free."""
    configuration = pygit2.Config(str(path / "config"))
    wanted: dict[str, list[str]] = {}
    for key, value in repository_settings(max_push_bytes):
        wanted.setdefault(key, []).append(value)
    for key, values in wanted.items():
        present = list(configuration.get_multivar(key))
        if present == values:
            continue
        if present:
            configuration.delete_multivar(key, ".*")
        for value in values:
            # a pattern that matches no value appends; `config[key] = value` refuses keys with several
            configuration.set_multivar(key, "^$", value)
