"""A repo-server that is killed at any moment of a clone, a push or a download: the client sees an error and comes again, nothing is lost.

The server is a process of its own and the client the real git. It dies at each piece it reads or sends, around what it does with refs, and,
by hooks, inside git: with the objects in quarantine, with the refs locked, with the refs moved.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

import pytest

from gastown_git.git_process import run_git
from gastown_git.layout import repository_path
from gastown_git.maintenance import QUARANTINE_SECONDS, remove_abandoned_quarantines
from gastown_git.repository import Repository
from gastown_git.signed_url import tree_url
from gastown_git.tree_archive import iterate_tar
from support import git_builder
from support.eventually import eventually
from support.git_server import NOW, TREE_KEY, Client
from support.mortal import AFTER, AtEachStep, Doom, Life, deaths_in
from support.mortal_repo_server import arm_hooks, free_port, repo_server_life

MINE = "refs/heads/polecat/greeter-furiosa/gp-1"
TRIES = 60


@dataclass
class Shop:
    """A rig's repository behind a server that dies and is started again, and what must never be lost of it.

    Attributes:
        tip: What MINE may point to; "" is not there.
        kept: Commits that no ref of the agent holds any more.
    """

    folder: Path
    doom: Doom
    tips: set[str] = field(default_factory=lambda: {""})
    kept: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.data = self.folder / "data"
        self.rig = git_builder.repository(repository_path(self.data, "town", "greeter"), {"README": b"hello\n", "big": noise(2_000_000)})
        self.main = git_builder.main_of(self.rig)
        self.port = free_port()
        self.life: Life | None = None

    def url(self) -> str:
        return f"http://x:furiosa@127.0.0.1:{self.port}/town/greeter.git"

    def serve(self) -> Life:
        """The living server; another one if it died."""
        if self.life is None or self.life.is_over():
            self.life = repo_server_life(self.folder / "server", self.doom, self.data, self.port).start()
            eventually(self._answers, 60, "the server answers")
        return self.life

    def again_and_again(self, action: Callable[[], str]) -> None:
        """Do something until it gives no problem; it may fail only when the server died of it, and then nothing may be broken."""
        for _ in range(TRIES):
            life = self.serve()
            if not (problem := action()):
                self.check()
                return
            eventually(life.is_over, 60, f"death, which alone excuses {problem}")
            assert life.was_killed(), life.told()
            eventually(lambda: not self.children(), 60, "git processes of the dead server are gone")
            self.check()
        raise AssertionError(f"no success in {TRIES} tries")

    def check(self) -> None:
        """What holds at any moment."""
        rig = Repository.open(self.rig.path)
        assert (rig.refs.find(MINE) or "") in self.tips
        assert git_builder.main_of(rig) == self.main
        reachable = rig.refs.find_all("refs/").values()
        for commit in self.kept:
            assert any(rig.is_ancestor(commit, tip) for tip in reachable), f"{commit} is lost"
        run_git(["fsck", "--full", "--strict"], repository=rig.path, timeout_seconds=60)

    def children(self) -> list[int]:
        """git processes that a server has started for this data folder."""
        mark = f"GIT_PROJECT_ROOT={self.data}".encode()
        return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and mark in _environment_of(entry)]

    def _answers(self) -> bool:
        assert self.life is not None
        assert not self.life.is_over(), self.life.told()
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (OSError, HTTPException):
            return False


def noise(size: int) -> bytes:
    """Bytes that git can not make smaller."""
    return random.Random(7).randbytes(size)


def clone(shop: Shop, folder: Path) -> Client:
    clients: list[Client] = []

    def once() -> str:
        shutil.rmtree(folder, ignore_errors=True)
        try:
            clients.append(Client(folder, shop.url()))
        except AssertionError as failed:
            return str(failed)
        return ""

    shop.again_and_again(once)
    return clients[0]


def push(shop: Shop, client: Client, *arguments: str, tip: str) -> None:
    """Push again and again; from now on MINE may have the new tip, at the end it must."""
    shop.tips |= {tip}

    def once() -> str:
        answer = client.run("push", "origin", *arguments, ok=False)
        # What was deleted by a server that died of it can not be deleted again.
        is_done = answer.exit_code == 0 or (not tip and "nothing to delete" in answer.error)
        return "" if is_done else answer.error

    shop.again_and_again(once)
    assert (shop.rig.refs.find(MINE) or "") == tip
    shop.tips = {tip}


def download(shop: Shop, tree: str) -> bytes:
    found: list[bytes] = []

    def once() -> str:
        url = tree_url(f"http://127.0.0.1:{shop.port}", TREE_KEY, "town", "greeter", tree, int(NOW) + 60)
        try:
            with urlopen(url, timeout=30) as answer:
                found.append(answer.read())
        except (OSError, HTTPException) as failed:
            return repr(failed)
        return ""

    shop.again_and_again(once)
    return found[0]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("with_children", [False, True], ids=["the server alone", "the server and its git processes"])
@pytest.mark.parametrize("times", [pytest.param(1, id="once"), pytest.param(2, id="twice", marks=pytest.mark.soak)])
def test_a_client_that_comes_again_gets_its_work_in_though_the_server_dies_at_each_step(
    tmp_path: Path, times: int, with_children: bool
) -> None:
    shop = Shop(tmp_path, AtEachStep(times))
    arm_hooks(tmp_path / "server", times, with_children=with_children)
    try:
        client = clone(shop, tmp_path / "furiosa")
        first = client.commit("work.bin", noise(1_500_000))
        push(shop, client, f"HEAD:{MINE}", tip=first)
        shop.kept.add(first)
        for number in range(TRIES):
            added = client.commit("more", str(number))
            push(shop, client, f"HEAD:{MINE}", tip=added)
            shop.kept.add(added)
            if ("release_contained_tips", AFTER) in deaths_in(tmp_path / "server"):
                break  # a death after the ref moved is a push that is not repeated: the last step of all comes when these are used up
        client.run("commit", "--quiet", "--amend", "-m", "Better")
        rewritten = client.run("rev-parse", "HEAD").output
        push(shop, client, f"+HEAD:{MINE}", tip=rewritten)
        shop.kept.add(rewritten)
        push(shop, client, f":{MINE}", tip="")
        tree = shop.rig.tree_of(shop.main)
        assert download(shop, tree) == b"".join(iterate_tar(shop.rig, tree))
    finally:
        if shop.life is not None:
            shop.life.kill()
    eventually(lambda: not shop.children(), 60, "git processes of the last server are gone")
    died_at = {what for what, _ in deaths_in(tmp_path / "server")}
    hooks = {"hook pre-receive ", "hook reference-transaction prepared", "hook reference-transaction committed", "hook post-receive "}
    assert died_at >= {*hooks, "keep_old_tips", "release_contained_tips", "body 1", "body 2", "answer application/x-tar 2"}
    left = {folder.name for folder in (shop.rig.path / "objects").glob("*incoming*")}
    assert set(remove_abandoned_quarantines(shop.rig.path, time.time())) == set(), "a push that goes on may be in one"
    assert set(remove_abandoned_quarantines(shop.rig.path, time.time() + QUARANTINE_SECONDS + 1)) == left
    shop.check()


def _environment_of(process: Path) -> bytes:
    try:
        return (process / "environ").read_bytes()
    except OSError:
        return b""
