"""Gets the source that a gate tests: downloads one git tree as a tar, unpacks it, and proves that it is that tree.

The proof is the git tree id, recomputed from what lies on the disk: content, executable bits, symbolic links, submodules. So
neither the network nor a wrong archive can make a gate test anything else than what would land. The archive is written by
gastown_git/tree_archive.py; it is unpacked with suspicion all the same.
"""

# ruff: noqa: PTH102, PTH115, PTH118, PTH123, PTH208, PTH211 - paths are bytes, as git's are; pathlib would decode them, and polish the targets of links

from __future__ import annotations

import hashlib
import http.client
import io
import os
import shutil
import stat
import tarfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from gastown.removal import remove_tree

_MODE_HEADER = "GASTOWN.mode"
_SUBMODULE_HEADER = "GASTOWN.submodule"
_CHUNK_BYTES = 1 << 20
_SOCKET_TIMEOUT_SECONDS = 60.0
_ATTEMPTS = 5
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0
# A server that is not there is being started again, ever later when it dies often. Three gates that give up hold their change until a
# person comes, so each waits for longer than that takes.
_AWAY_SECONDS = 120.0
_RETRIED_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


class TreeSourceError(Exception):
    """The source could not be had; the text says which and why. A gate that ends so is a gate error, not a red."""


class WrongTree(TreeSourceError):
    """What was unpacked is not the tree that was asked for."""


class UnsafeArchive(TreeSourceError):
    """The archive holds what no git tree can hold, or more than the limits allow; nothing of it may be used."""


@dataclass(frozen=True)
class Limits:
    """What an archive may bring at most.

    Attributes:
        total_bytes: The whole stream, headers included.
        entries: Files, links and folders.
        path_bytes: Length of one path, and of one link's target.
        depth: Folders in each other; the tree id is computed by recursion.
    """

    total_bytes: int = 8 << 30
    entries: int = 1_000_000
    path_bytes: int = 4096
    depth: int = 250


@dataclass
class Unpacked:
    """What the archive said that the disk can not: raw modes by path, commits of submodules by path."""

    modes: dict[bytes, bytes] = field(default_factory=dict)
    submodules: dict[bytes, str] = field(default_factory=dict)


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def fetch_tree(url: str, tree: str, target_directory: Path, timeout_seconds: float, limits: Limits | None = None) -> None:
    """Download a tree, unpack it and prove that it is the right one.

    Args:
        url: Signed link; transient errors are tried again a few times, a server that is away for two minutes.
        tree: Git tree id, 40 hex digits.
        target_directory: Made here; it may exist if it is empty. Left empty or absent when this fails.
        timeout_seconds: For all attempts together.
        limits: What the archive may bring.

    Raises:
        WrongTree: What arrived is not that tree.
        UnsafeArchive: The archive tries to write elsewhere, or is too large.
        TreeSourceError: The link is refused, the folder is not empty, or the server did not answer in time.
    """
    if not url.startswith(("http://", "https://")):
        raise TreeSourceError(f"{_shown(url)} is no http or https link; it must be the GateRun's sourceURL")
    if target_directory.exists() and any(target_directory.iterdir()):
        raise TreeSourceError(f"{target_directory} is not empty; give an empty folder for the source")
    begin = time.monotonic()
    deadline = begin + timeout_seconds
    pause, attempt, answers = _FIRST_PAUSE_SECONDS, 0, 0
    while True:
        attempt += 1
        try:
            unpacked = _download(url, target_directory, deadline, limits or Limits())
            break
        except (OSError, http.client.HTTPException, tarfile.TarError, TreeSourceError) as error:
            remove_tree(target_directory)
            if not _is_transient(error):
                raise _explained(url, error) from error
            now = time.monotonic()
            answers += not _is_away(error)
            if answers == _ATTEMPTS or now + pause > deadline or (_is_away(error) and now - begin > _AWAY_SECONDS):
                raise TreeSourceError(f"{_shown(url)}: {error}; gave up after {attempt} attempts") from error
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
    found = tree_id(target_directory, unpacked)
    if found != tree:
        remove_tree(target_directory)
        raise WrongTree(f"{_shown(url)}: unpacked tree is {found}, asked for {tree}; the source was not used")


def unpack(stream: _Readable, target: Path, limits: Limits) -> Unpacked:
    """Unpack an archive into a folder that this call fills alone.

    Every path is made of plain names, its folder came earlier in the same archive, and nothing exists yet: so no entry can be
    written through a link, outside the folder, or twice.

    Raises:
        UnsafeArchive: See there; the folder then holds a part.
        tarfile.TarError: The archive is damaged or ends early.
    """
    target.mkdir(parents=True, exist_ok=True)
    root = os.fsencode(target)
    folders = {b""}
    unpacked = Unpacked()
    counted = _Counted(stream, limits.total_bytes)
    with tarfile.open(fileobj=counted, mode="r|", encoding="utf-8", errors="surrogateescape") as archive:
        for number, entry in enumerate(archive, start=1):
            if number > limits.entries:
                raise UnsafeArchive(f"archive has more than {limits.entries} entries")
            path = _checked_path(entry, folders, limits)
            _write_entry(archive, entry, os.path.join(root, path), path, folders, limits)
            if _MODE_HEADER in entry.pax_headers:
                unpacked.modes[path] = entry.pax_headers[_MODE_HEADER].encode("ascii")
            if _SUBMODULE_HEADER in entry.pax_headers:
                unpacked.submodules[path] = entry.pax_headers[_SUBMODULE_HEADER]
                folders.discard(path)  # nothing may follow into it
            archive.members = []  # type: ignore[attr-defined]  # tarfile remembers every entry; a large tree need not fit in memory
    while counted.read(_CHUNK_BYTES):
        pass  # to the end, so that a transfer cut short is noticed
    return unpacked


def tree_id(directory: Path, unpacked: Unpacked | None = None) -> str:
    """Compute the git tree id of what lies in a folder.

    Args:
        directory: Its files, links and folders, all of them; an empty folder is an empty tree.
        unpacked: What the archive said about odd modes and submodules.

    Returns:
        40 hex digits, what `git write-tree` would say.
    """
    return _tree_id(os.fsencode(directory), b"", unpacked or Unpacked()).hex()


class _Counted(io.RawIOBase):
    """Counts what is read and stops at the limit, so that no header can ask for more memory or disk than that."""

    def __init__(self, stream: _Readable, limit: int) -> None:
        self._stream = stream
        self._left = limit

    def read(self, size: int = -1, /) -> bytes:
        content = self._stream.read(min(size, _CHUNK_BYTES) if size >= 0 else _CHUNK_BYTES)
        self._left -= len(content)
        if self._left < 0:
            raise UnsafeArchive("archive is larger than its limit")
        return content


def _download(url: str, target: Path, deadline: float, limits: Limits) -> Unpacked:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TreeSourceError(f"{_shown(url)}: no time left to download")
    with urllib.request.urlopen(url, timeout=min(left, _SOCKET_TIMEOUT_SECONDS)) as response:  # noqa: S310 - the operator's own link
        return unpack(_Deadline(response, deadline), target, limits)


class _Deadline:
    """Ends a download that trickles (each read may be quick, and the whole still too late) and notices one cut short."""

    def __init__(self, response: http.client.HTTPResponse, deadline: float) -> None:
        self._response = response
        self._deadline = deadline

    def read(self, size: int, /) -> bytes:
        if time.monotonic() > self._deadline:
            raise TimeoutError("download did not end in time")
        content = self._response.read1(size)  # what is there; read() would wait for the whole size, however slowly it comes
        if not content and size and self._response.length:
            raise http.client.IncompleteRead(b"", self._response.length)
        return content


def _is_away(error: BaseException) -> bool:
    """Whether nobody listens there."""
    return isinstance(error, urllib.error.URLError) and isinstance(error.reason, ConnectionRefusedError)


def _is_transient(error: BaseException) -> bool:
    if isinstance(error, urllib.error.HTTPError):
        return error.code in _RETRIED_STATUS
    if isinstance(error, urllib.error.URLError):
        return isinstance(error.reason, OSError)
    return isinstance(error, ConnectionError | TimeoutError | http.client.HTTPException | tarfile.ReadError)


def _explained(url: str, error: BaseException) -> TreeSourceError:
    if isinstance(error, TreeSourceError):
        return error
    if isinstance(error, urllib.error.HTTPError):
        answer = error.read(500).decode(errors="replace").strip()
        return TreeSourceError(f"{_shown(url)}: the server answers {error.code}: {answer}")
    return TreeSourceError(f"{_shown(url)}: {error}")


def _shown(url: str) -> str:
    """The link without its signature: logs are read by many."""
    return url.partition("?")[0]


def _checked_path(entry: tarfile.TarInfo, folders: set[bytes], limits: Limits) -> bytes:
    path = entry.name.encode("utf-8", "surrogateescape")
    folder, _, name = path.rpartition(b"/")
    if not path or len(path) > limits.path_bytes or b"\0" in path:
        raise UnsafeArchive(f"archive has a path of {len(path)} bytes; allowed are 1 to {limits.path_bytes} without NUL")
    if path.count(b"/") > limits.depth:
        raise UnsafeArchive(f"archive has folders {path.count(b'/')} deep; allowed are {limits.depth}")
    if name in {b"", b".", b".."} or name.lower() == b".git":
        raise UnsafeArchive(f"archive has the path {entry.name!r}, which no git tree holds")
    if folder not in folders:
        raise UnsafeArchive(f"archive has {entry.name!r} before its folder, or in something that is no folder")
    return path


def _write_entry(
    archive: tarfile.TarFile, entry: tarfile.TarInfo, full_path: bytes, path: bytes, folders: set[bytes], limits: Limits
) -> None:
    try:
        if entry.isdir():
            os.mkdir(full_path)
            folders.add(path)
        elif entry.issym():
            link = entry.linkname.encode("utf-8", "surrogateescape")
            if not link or len(link) > limits.path_bytes or b"\0" in link:
                raise UnsafeArchive(f"archive has the link {entry.name!r} with a target of {len(link)} bytes")
            os.symlink(link, full_path)  # where it points does not matter: nothing is ever written through it
        elif entry.type in {tarfile.REGTYPE, tarfile.AREGTYPE} and not entry.issparse():  # a sparse file is larger than the stream
            _write_file(archive, entry, full_path)
        else:
            raise UnsafeArchive(f"archive has {entry.name!r} of a kind that git does not know")
    except FileExistsError:
        raise UnsafeArchive(f"archive has {entry.name!r} twice, or twice under names this file system can not tell apart") from None


def _write_file(archive: tarfile.TarFile, entry: tarfile.TarInfo, full_path: bytes) -> None:
    content = archive.extractfile(entry)
    assert content is not None
    descriptor = os.open(full_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        shutil.copyfileobj(content, file, _CHUNK_BYTES)  # tarfile itself notices an archive that ends inside
        os.fchmod(descriptor, 0o755 if entry.mode & 0o100 else 0o644)


def _tree_id(root: bytes, prefix: bytes, unpacked: Unpacked) -> bytes:
    lines = []
    with os.scandir(os.path.join(root, prefix) if prefix else root) as entries:
        for entry in entries:
            path = os.path.join(prefix, entry.name)
            mode, object_id = _entry_id(root, path, entry, unpacked)
            # git sorts a folder as if its name ended in a slash
            lines.append((entry.name + b"/" if mode == b"40000" else entry.name, unpacked.modes.get(path, mode), entry.name, object_id))
    content = b"".join(mode + b" " + name + b"\0" + object_id for _, mode, name, object_id in sorted(lines))
    return _object_id(b"tree", content)


def _entry_id(root: bytes, path: bytes, entry: os.DirEntry[bytes], unpacked: Unpacked) -> tuple[bytes, bytes]:
    status = entry.stat(follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode):
        return b"120000", _object_id(b"blob", os.readlink(os.path.join(root, path)))
    if stat.S_ISREG(status.st_mode):
        return b"100755" if status.st_mode & 0o100 else b"100644", _file_id(os.path.join(root, path), status.st_size)
    if not stat.S_ISDIR(status.st_mode):
        raise WrongTree(f"{os.fsdecode(path)} is neither file nor link nor folder")
    if path in unpacked.submodules:
        if os.listdir(os.path.join(root, path)):
            raise WrongTree(f"submodule folder {os.fsdecode(path)} is not empty")
        return b"160000", bytes.fromhex(unpacked.submodules[path])
    return b"40000", _tree_id(root, path, unpacked)


def _object_id(kind: bytes, content: bytes) -> bytes:
    return hashlib.sha1(kind + b" %d\0" % len(content) + content, usedforsecurity=False).digest()


def _file_id(path: bytes, size: int) -> bytes:
    digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.digest()
