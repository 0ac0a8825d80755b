"""Pushing over HTTP: what agents may move, what they are told otherwise, and that no pushed commit is lost."""

from __future__ import annotations

import secrets
import threading
from pathlib import Path

import pytest

from gastown_git.ref_names import keep_ref
from gastown_git.refs import RefLocked
from gastown_git.server import old_tips, push
from gastown_git.server.access import Identity, RefUpdate
from support import git_builder as build
from support import git_server
from support.eventually import eventually
from support.git_server import Client, Server

MINE = "refs/heads/polecat/greeter-furiosa/gp-1"
NUXES = "refs/heads/polecat/greeter-nux/gp-2"


def kept(server: Server) -> list[str]:
    return sorted(server.rig.refs.find_all("refs/keep/").values())


def test_an_agent_pushes_its_branch_and_checkpoint_and_others_fetch_them(server: Server, client: Client, tmp_path: Path) -> None:
    head = client.commit("work.py", "1")
    client.run("push", "origin", f"HEAD:{MINE}", "HEAD:refs/agents/greeter-furiosa/wip/gp-1")
    assert server.rig.refs.find(MINE) == head
    assert server.rig.refs.find("refs/agents/greeter-furiosa/wip/gp-1") == head
    other = Client(tmp_path / "nux", server.url("nux"))
    other.run("fetch", "origin", f"{MINE}:refs/heads/seen")
    assert other.run("rev-parse", "seen").output == head
    assert kept(server) == []


@pytest.mark.parametrize(
    ("ref", "told"),
    [
        pytest.param("refs/heads/main", "only the refinery moves this branch", id="main"),
        pytest.param("refs/heads/integration/big", "only the refinery moves this branch", id="integration branch"),
        pytest.param("refs/heads/gp-1", "run `gt done`", id="branch outside the folder"),
        pytest.param(NUXES, "belongs to another agent; push to refs/heads/polecat/greeter-furiosa/<bead>", id="another's branch"),
        pytest.param("refs/heads/polecat/greeter-furiosa-2/x", "belongs to another agent", id="an agent whose name begins alike"),
        pytest.param("refs/heads/crew/greeter-furiosa/x", "belongs to another agent", id="crew's folder"),
        pytest.param("refs/agents/greeter-nux/wip/gp-2", "belongs to another agent", id="another's checkpoint"),
        pytest.param("refs/tags/v1", "tags are not made here", id="tag"),
        pytest.param("refs/mr/gp-1-abc", "only the town writes this ref", id="pin of a merge request"),
        pytest.param(f"refs/evidence/{'ab' * 32}/{'12' * 20}", "only the town writes this ref", id="evidence"),
        pytest.param(f"refs/keep/{'12' * 20}", "only the town writes this ref", id="kept tip"),
    ],
)
def test_a_ref_that_is_not_its_own_is_refused_and_git_prints_why_and_what_to_do(
    server: Server, client: Client, ref: str, told: str
) -> None:
    before = server.rig.refs.find_all("refs/")
    client.commit("work.py", "1")
    answer = client.run("push", "origin", f"+HEAD:{ref}", ok=False)
    assert answer.exit_code == 1
    assert "[remote rejected]" in answer.error
    assert told in answer.error
    assert server.rig.refs.find_all("refs/") == before


def test_an_innocent_ref_in_a_refused_push_is_told_to_come_alone(server: Server, client: Client) -> None:
    client.commit("work.py", "1")
    answer = client.run("push", "origin", f"HEAD:{MINE}", "HEAD:refs/heads/main", ok=False)
    assert "another ref of this push was refused; push this one alone" in answer.error
    assert server.rig.refs.find(MINE) is None
    client.run("push", "origin", f"HEAD:{MINE}")


def test_deleting_or_rewinding_main_is_refused(server: Server, client: Client) -> None:
    main = build.main_of(server.rig)
    assert "only the refinery" in client.run("push", "origin", ":refs/heads/main", ok=False).error
    orphan = client.run("commit-tree", "-m", "x", client.run("write-tree").output).output
    assert "only the refinery" in client.run("push", "--force", "origin", f"{orphan}:refs/heads/main", ok=False).error
    assert build.main_of(server.rig) == main


@pytest.mark.parametrize("ref", ["refs/heads/main", NUXES, "refs/mr/x", f"refs/keep/{'12' * 20}"])
def test_gits_own_wall_stands_when_the_rules_fail(server: Server, client: Client, monkeypatch: pytest.MonkeyPatch, ref: str) -> None:
    monkeypatch.setattr(push, "find_refusals", lambda *_: [])
    before = server.rig.refs.find_all("refs/")
    client.commit("work.py", "1")
    assert "deny updating a hidden ref" in client.run("push", "origin", f"HEAD:{ref}", ok=False).error
    moved = {name: tip for name, tip in server.rig.refs.find_all("refs/").items() if not name.startswith("refs/keep/")}
    assert moved == before
    client.run("push", "origin", f"HEAD:{MINE}")


def test_a_fresh_agent_sends_only_its_own_commits_since_main_is_advertised(server: Server, tmp_path: Path) -> None:
    tip = build.main_of(server.rig)
    for number in range(40):
        tip = build.change(server.rig, tip, {f"f{number}": secrets.token_bytes(2000)})
    server.rig.refs.move_protected_branch("refs/heads/main", new=tip, expected=build.main_of(server.rig))
    client = Client(tmp_path / "fresh", server.url())
    client.commit("work.py", "1")
    answer = client.run("push", "--progress", "origin", f"HEAD:{MINE}")
    assert "Total 3 (delta" in answer.error


def test_a_forced_push_keeps_the_old_tip(server: Server, client: Client) -> None:
    old = client.commit("work.py", "1")
    client.run("push", "origin", f"HEAD:{MINE}")
    client.run("commit", "--amend", "-m", "Better")
    client.run("push", "--force", "origin", f"HEAD:{MINE}")
    assert kept(server) == [old]
    assert server.rig.refs.find(keep_ref(old)) == old


def test_a_deletion_keeps_the_old_tip(server: Server, client: Client) -> None:
    old = client.commit("work.py", "1")
    client.run("push", "origin", f"HEAD:{MINE}")
    client.run("push", "origin", f":{MINE}")
    assert server.rig.refs.find(MINE) is None
    assert kept(server) == [old]


def test_an_ordinary_push_forward_leaves_nothing_behind(server: Server, client: Client) -> None:
    for number in range(3):
        head = client.commit("work.py", str(number))
        client.run("push", "origin", f"HEAD:{MINE}")
        assert server.rig.refs.find(MINE) == head
    eventually(lambda: kept(server) == [], describe="old tips let go")


def test_checkpoints_that_replace_each_other_are_all_kept(server: Server, client: Client) -> None:
    commits = []
    for number in range(3):
        commits.append(client.commit("work.py", str(number)))
        client.run("push", "--force", "origin", "HEAD:refs/agents/greeter-furiosa/wip/gp-1")
        client.run("reset", "--quiet", "--hard", "origin/main")
    assert kept(server) == sorted(commits[:2])


def test_a_push_whose_old_tip_can_not_be_kept_is_refused(server: Server, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    old = client.commit("work.py", "1")
    client.run("push", "origin", f"HEAD:{MINE}")

    def fail(*_: object) -> list[str]:
        raise RefLocked("refs/keep/x", "locked", remedy="later")

    monkeypatch.setattr(push, "keep_old_tips", fail)
    answer = client.run("push", "origin", f":{MINE}", ok=False)
    assert "could not be kept, so nothing was moved" in answer.error
    assert server.rig.refs.find(MINE) == old


@pytest.mark.parametrize("is_deleted", [True, False], ids=["the branch is deleted meanwhile", "git refused the push"])
def test_a_tip_is_let_go_only_when_its_ref_has_moved_on_to_contain_it(server: Server, client: Client, is_deleted: bool) -> None:
    old = client.commit("work.py", "1")
    client.run("push", "origin", f"HEAD:{MINE}")
    update = RefUpdate(old, client.commit("work.py", "2"), MINE)
    held = old_tips.keep_old_tips(server.rig.path, [update])
    if is_deleted:
        server.rig.refs.delete(MINE, expected=old)
    old_tips.release_contained_tips(server.rig.path, [update], held)
    assert kept(server) == [old]


def test_a_push_larger_than_the_limit_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with git_server.running(tmp_path / "data", max_push_bytes=200_000) as server:
        server.rig = type(server.rig).create(server.rig.path, max_push_bytes=200_000)
        client = Client(tmp_path / "furiosa", server.url())
        client.commit("large", secrets.token_bytes(400_000))
        whole = client.run("push", "origin", f"HEAD:{MINE}", ok=False)
        assert "the push is larger than 0.190735 MiB; keep large files out of git" in whole.error
        client.commit("larger", secrets.token_bytes(20_000_000))  # git stops reading long before the client has sent it all
        in_chunks = client.run("push", "origin", f"HEAD:{MINE}", ok=False, configuration=(("http.postBuffer", "65536"),))
        assert "maximum allowed size" in in_chunks.error
        assert server.rig.refs.find(MINE) is None


def test_a_large_push_in_chunks_arrives_whole(server: Server, client: Client) -> None:
    head = client.commit("large", secrets.token_bytes(20_000_000))
    client.run("push", "origin", f"HEAD:{MINE}", configuration=(("http.postBuffer", "1048576"),))
    assert server.rig.refs.find(MINE) == head
    assert server.rig.exists(server.rig.tree_of(head))


def test_broken_objects_are_refused_before_they_are_stored(server: Server, client: Client) -> None:
    client.run("update-index", "--add", "--cacheinfo", "100644,e69de29bb2d1d6434b8b29ae775ad8c2e48c5391,x")
    evil = client.run("hash-object", "-t", "tree", "-w", "--literally", "--stdin", configuration=()).output
    assert evil  # the empty tree; below it becomes a commit with a name that no author may have
    (client.folder / "commit").write_text(f"tree {evil}\nauthor <> 1 +0000\ncommitter x <x@y> 1 +0000\n\nbad\n")
    bad = client.run("hash-object", "-t", "commit", "-w", "--literally", str(client.folder / "commit")).output
    answer = client.run("push", "origin", f"{bad}:{MINE}", ok=False)
    assert "missingNameBeforeEmail" in answer.error or "fsck error" in answer.error
    assert server.rig.refs.find(MINE) is None


def test_pushes_of_many_agents_at_once_all_arrive(server: Server, tmp_path: Path) -> None:
    names = [f"greeter-{number}" for number in range(6)]
    for name in names:
        server.authenticator.identities[name] = Identity("agent", name, "town", name, "greeter")
    heads: dict[str, str] = {}

    def work(name: str) -> None:
        own = Client(tmp_path / name, server.url(name))
        heads[name] = own.commit(name, name)
        own.run("push", "origin", f"HEAD:refs/heads/polecat/{name}/gp-1")

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=100)
    assert {name: server.rig.refs.find(f"refs/heads/polecat/{name}/gp-1") for name in names} == heads


def test_a_person_and_a_rigless_agent_are_told_how_to_push(server: Server, tmp_path: Path) -> None:
    joe = Client(tmp_path / "joe", server.url("joe"))
    joe.commit("work.py", "1")
    answer = joe.run("push", "origin", f"HEAD:{MINE}", ok=False)
    assert "people push as their crew agent; use the token that `gt credential` gives for it" in answer.error


def test_a_push_waits_for_the_end_of_a_lock_that_a_killed_git_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gastown_git.stale_locks.ABANDONED_SECONDS", 1.5)
    with git_server.running(tmp_path / "data") as server:
        client = Client(tmp_path / "furiosa", server.url())
        head = client.commit("work.py", "1")
        lock = server.rig.path / f"{MINE}.lock"
        lock.parent.mkdir(parents=True)
        lock.touch()
        client.run("push", "origin", f"HEAD:{MINE}")
        assert server.rig.refs.find(MINE) == head


def test_a_deletion_waits_for_the_end_of_a_lock_on_packed_refs_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gastown_git.stale_locks.ABANDONED_SECONDS", 1.5)
    with git_server.running(tmp_path / "data") as server:
        client = Client(tmp_path / "furiosa", server.url())
        client.commit("work.py", "1")
        client.run("push", "origin", f"HEAD:{MINE}")
        for name in ("packed-refs.lock", "packed-refs.new"):
            (server.rig.path / name).touch()
        client.run("push", "origin", f":{MINE}")
        assert server.rig.refs.find(MINE) is None


def test_a_lock_left_by_a_killed_git_is_gone_after_a_while_without_a_push(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gastown_git.server.upkeep.LOCK_SWEEP_SECONDS", 0.05)
    monkeypatch.setattr("gastown_git.stale_locks.ABANDONED_SECONDS", 0.3)
    with git_server.running(tmp_path / "data") as server:
        lock = server.rig.path / f"{MINE}.lock"
        lock.parent.mkdir(parents=True)
        lock.touch()
        eventually(lambda: not lock.exists())


def test_a_repository_that_grew_is_packed_between_requests_and_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gastown_git.server.upkeep.MAINTENANCE_CHECK_SECONDS", 0.05)
    monkeypatch.setattr("gastown_git.maintenance.MAX_PACKS", -1)
    with git_server.running(tmp_path / "data") as server:
        client = Client(tmp_path / "furiosa", server.url())
        head = client.commit("work.py", "1")
        client.run("push", "origin", f"HEAD:{MINE}")
        eventually((server.rig.path / "packed-refs").exists, describe="refs packed")
        eventually(lambda: not (server.rig.path / "objects" / head[:2] / head[2:]).exists(), describe="objects packed")
        assert server.rig.refs.find(MINE) == head
        client.run("commit", "--amend", "-m", "Better")
        client.run("push", "--force", "origin", f"HEAD:{MINE}")
        assert kept(server) == [head]


def test_a_push_waits_while_its_repository_is_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, over = threading.Event(), threading.Event()

    def pack(_: object) -> None:
        begun.set()
        over.wait(60)

    monkeypatch.setattr("gastown_git.server.upkeep.MAINTENANCE_CHECK_SECONDS", 3600)
    monkeypatch.setattr("gastown_git.maintenance.MAX_PACKS", -1)
    monkeypatch.setattr("gastown_git.server.upkeep.maintain", pack)
    with git_server.running(tmp_path / "data") as server:
        assert begun.wait(30)
        client = Client(tmp_path / "furiosa", server.url())
        client.commit("work.py", "1")
        pushing = threading.Thread(target=client.run, args=("push", "origin", f"HEAD:{MINE}"))
        pushing.start()
        pushing.join(2)  # one that does not wait takes a fraction of this
        assert pushing.is_alive()
        assert server.rig.refs.find(MINE) is None
        over.set()
        pushing.join(60)
        assert server.rig.refs.find(MINE) is not None
