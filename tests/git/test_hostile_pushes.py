"""What no git client would make, pushed to the real server: what a checkout could be led astray by is refused before it is stored."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gastown_git.refs import ObjectMissing
from support.git_server import Client, Server

BRANCH = "refs/heads/polecat/greeter-furiosa/gr-1"
Entry = tuple[bytes, bytes, str]


class Forge:
    """Writes objects byte by byte into a clone."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.main = client.run("rev-parse", "HEAD").output
        self.blob = self.write("blob", b"x\n")

    def write(self, kind: str, content: bytes) -> str:
        command = ["git", "hash-object", "-t", kind, "-w", "--literally", "--stdin"]
        done = subprocess.run(command, cwd=self.client.folder, input=content, capture_output=True, check=True, timeout=30)
        return done.stdout.decode().strip()

    def tree(self, *entries: Entry) -> str:
        return self.write("tree", b"".join(mode + b" " + name + b"\0" + bytes.fromhex(id_) for mode, name, id_ in entries))

    def file(self, name: bytes, content: bytes = b"x\n", mode: bytes = b"100644") -> str:
        return self.tree((mode, name, self.write("blob", content)))

    def folder(self, name: bytes) -> str:
        return self.tree((b"40000", name, self.file(b"config")))

    def commit(self, tree: str, *, message: bytes = b"x\n", headers: bytes = b"", author: bytes = b"f <f@x> 1700000000 +0000") -> str:
        lines = [b"tree " + tree.encode(), b"parent " + self.main.encode(), b"author " + author, b"committer " + author]
        return self.write("commit", b"\n".join(lines) + b"\n" + headers + b"\n" + message)


@pytest.fixture
def forge(client: Client) -> Forge:
    return Forge(client)


FOLDERS = {
    ".git": b".git",
    ".GIT": b".GIT",
    "the short name of .git on Windows": b"git~1",
    ".git with a letter nobody sees": ".g\u200cit".encode(),
    "a stream of .git": b".git::$INDEX_ALLOCATION",
    "a folder above": b"..",
    "a folder itself": b".",
}
MODULES = {
    "a name that leads out": b'[submodule "../x"]\n\tpath = a\n\turl = http://x/\n',
    "an address that is an option": b'[submodule "a"]\n\tpath = a\n\turl = --upload-pack=id\n',
    "a path that is an option": b'[submodule "a"]\n\tpath = -a\n\turl = http://x/\n',
    "a command for updates": b'[submodule "a"]\n\tpath = a\n\turl = http://x/\n\tupdate = !id\n',
}


def refused(server: Server, forge: Forge, commit: str) -> str:
    """What git says to a push that stores nothing."""
    said = forge.client.run("push", "origin", f"{commit}:{BRANCH}", ok=False)
    assert said.exit_code != 0
    assert server.rig.refs.find(BRANCH) is None
    with pytest.raises(ObjectMissing):
        server.rig.commit(commit)
    return said.error


@pytest.mark.parametrize("name", FOLDERS.values(), ids=FOLDERS)
def test_a_folder_that_git_itself_lives_in_or_above_is_refused(server: Server, forge: Forge, name: bytes) -> None:
    assert "hasDot" in refused(server, forge, forge.commit(forge.folder(name)))


@pytest.mark.parametrize("content", MODULES.values(), ids=MODULES)
def test_settings_of_submodules_that_could_run_or_write_something_are_refused(server: Server, forge: Forge, content: bytes) -> None:
    assert "gitmodules" in refused(server, forge, forge.commit(forge.file(b".gitmodules", content)))


def test_settings_of_submodules_behind_a_link_are_refused(server: Server, forge: Forge) -> None:
    assert "gitmodulesSymlink" in refused(server, forge, forge.commit(forge.file(b".gitmodules", b"/etc/passwd", b"120000")))


def test_trees_that_two_programs_would_read_in_two_ways_are_refused(server: Server, forge: Forge) -> None:
    for tree, why in (
        (forge.file(b"a/../../b"), "fullPathname"),
        (forge.tree((b"100644", b"a", forge.blob), (b"120000", b"a", forge.blob)), "duplicateEntries"),
        (forge.tree((b"120000", b"a", forge.blob), (b"40000", b"a", forge.file(b"x"))), "duplicateEntries"),
        (forge.tree((b"100644", b"b", forge.blob), (b"100644", b"a", forge.blob)), "treeNotSorted"),
        (forge.file(b"a", mode=b"777"), "badFilemode"),
        (forge.file(b"a", mode=b"010644"), "zeroPaddedFilemode"),
        (forge.file(b"a", mode=b"060644"), "zeroPaddedFilemode"),
    ):
        assert why in refused(server, forge, forge.commit(tree)), why


def test_commits_that_two_programs_would_read_in_two_ways_are_refused(server: Server, forge: Forge) -> None:
    tree = forge.file(b"a")
    for commit, why in (
        (forge.commit(tree, message=b"a\0b\n"), "nulInCommit"),
        (forge.commit(tree, headers=b"x \0\n"), "nulInHeader"),
        (forge.commit(tree, author=b"f"), "missingEmail"),
        (forge.commit(tree, author=b"f <f@x> 99999999999999999999999 +0000"), "badDateOverflow"),
        (forge.commit(tree, author=b"f <f@x> 1 +0000\nparent " + forge.main.encode()), "multipleAuthors"),
    ):
        said = refused(server, forge, commit)
        assert why in said or "fsck error" in said, said


def test_what_only_looks_odd_is_stored_and_judged_later(server: Server, forge: Forge) -> None:
    for tree in (
        forge.file(b"\xff\x1b[2J\n"),
        forge.file(b"link", b"../../../etc/passwd", b"120000"),
        forge.file(b"..\\..\\x"),
        forge.file(b"n" * 300),
        forge.file(b".gitattributes", b"* export-ignore filter=evil\n"),
    ):
        forge.client.run("push", "--force", "origin", f"{forge.commit(tree)}:{BRANCH}")
        assert server.rig.tree_of(server.rig.refs.find(BRANCH) or "") == tree


def test_a_small_push_that_unpacks_to_a_huge_file_takes_little_memory(server: Server, client: Client) -> None:
    client.run("config", "core.bigFileThreshold", "1m")
    with (client.folder / "zeros").open("wb") as file:
        file.truncate(300 << 20)
    client.run("add", "zeros")
    client.run("commit", "--quiet", "-m", "Add nothing, much of it")
    (client.folder / "zeros").unlink()
    with watching(server) as peaks:
        client.run("push", "--quiet", "origin", f"HEAD:{BRANCH}")
    assert server.rig.refs.find(BRANCH) is not None
    assert peaks
    assert max(peaks) < 100 << 20


@contextmanager
def watching(server: Server) -> Iterator[set[int]]:
    """The most bytes that each process of the server's had in memory, looked at all the time."""
    peaks: set[int] = set()
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.01):
            peaks.update(_peak(pid) for pid in server.children())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield peaks
    finally:
        stop.set()
        thread.join()


def _peak(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/status") as status:  # noqa: PTH123 - a process that ends is no file that is gone
            return next((int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM:")), 0)
    except OSError:
        return 0
