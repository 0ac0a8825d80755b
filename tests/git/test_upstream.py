"""Adoption from and publication to an upstream, with a real git on the other side."""

from __future__ import annotations

from pathlib import Path

import pytest

from gastown_git.git_process import run_git
from gastown_git.ref_names import branch_ref
from gastown_git.refinery import kernel
from gastown_git.repository import Repository
from gastown_git.upstream import UpstreamRefused, UpstreamUnavailable, check_upstream_url, fetch_branch, push_branch
from support import git_builder as build


@pytest.fixture
def upstream(tmp_path: Path) -> Repository:
    return build.repository(tmp_path / "upstreams" / "greeter.git", {"greet.py": b"print('hello')\n"})


@pytest.fixture
def empty(tmp_path: Path) -> Repository:
    return Repository.create(tmp_path / "empty.git")


def test_fetching_brings_the_branch_alone_and_leaves_main_to_the_kernel(empty: Repository, upstream: Repository) -> None:
    tip = build.main_of(upstream)
    upstream.refs.create("refs/tags/v1", tip)
    upstream.refs.create("refs/heads/polecat/a/b", build.change(upstream, tip, {"a": b"1"}))
    assert fetch_branch(empty, f"file://{upstream.path}", "main") == tip
    assert empty.refs.find_all("refs/") == {"refs/upstream/main": tip}
    assert kernel.adopt(empty, "main", tip) == tip
    assert (empty.path / "objects" / "info" / "commit-graphs").is_dir()


def test_locks_of_a_killed_fetch_do_not_stop_the_adoption(empty: Repository, upstream: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gastown_git.stale_locks.ABANDONED_SECONDS", 0.2)
    for name in ("refs/upstream/main.lock", "objects/info/commit-graphs/commit-graph-chain.lock"):
        (empty.path / name).parent.mkdir(parents=True)
        (empty.path / name).touch()
    assert fetch_branch(empty, f"file://{upstream.path}", "main") == build.main_of(upstream)


@pytest.mark.parametrize("lock", ["refs/heads/main.lock", "HEAD.lock"])
def test_a_lock_of_a_killed_push_does_not_stop_the_next_one_to_an_upstream_on_this_machine(
    empty: Repository, upstream: Repository, monkeypatch: pytest.MonkeyPatch, lock: str
) -> None:
    monkeypatch.setattr("gastown_git.stale_locks.ABANDONED_SECONDS", 0.2)
    landed = build.change(empty, fetch_branch(empty, f"file://{upstream.path}", "main"), {"a": b"1"})
    (upstream.path / lock).touch()
    push_branch(empty, f"file://{upstream.path}", "main", landed)
    assert build.main_of(upstream) == landed


def test_a_branch_that_is_not_there_is_named(empty: Repository, upstream: Repository) -> None:
    with pytest.raises(UpstreamRefused, match="no branch 'nosuch'"):
        fetch_branch(empty, f"file://{upstream.path}", "nosuch")


def test_an_upstream_that_is_not_there_is_worth_another_try(empty: Repository, tmp_path: Path) -> None:
    with pytest.raises(UpstreamUnavailable, match="fetch failed"):
        fetch_branch(empty, f"file://{tmp_path}/none.git", "main")
    with pytest.raises(UpstreamUnavailable, match="push failed"):
        push_branch(empty, f"file://{tmp_path}/none.git", "main", build.commit(empty, {"a": b"1"}))


def test_an_upstream_whose_objects_are_broken_is_refused(empty: Repository, upstream: Repository) -> None:
    evil = build.commit(upstream, {".gitmodules": b'[submodule "x"]\n\tpath = x\n\turl = -u./payload\n'})
    upstream.refs.create("refs/heads/polecat/evil/x", evil)
    with pytest.raises(UpstreamRefused, match="broken"):
        fetch_branch(empty, f"file://{upstream.path}", "polecat/evil/x")


def test_an_old_history_with_harmless_blemishes_can_be_adopted(empty: Repository, upstream: Repository) -> None:
    raw = f"tree {upstream.tree_of(build.main_of(upstream))}\nauthor a <a@b> 1 +051800\ncommitter a <a@b> 1 +051800\n\nold\n".encode()
    arguments = ["hash-object", "-t", "commit", "-w", "--stdin", "--literally"]
    old = run_git(arguments, repository=upstream.path, timeout_seconds=30, standard_input=raw).output.decode().strip()
    upstream.refs.create("refs/heads/polecat/old/x", old)
    assert fetch_branch(empty, f"file://{upstream.path}", "polecat/old/x") == old


def test_publishing_moves_the_upstream_forward_and_again_is_no_error(rig: Repository, tmp_path: Path) -> None:
    url = f"file://{Repository.create(tmp_path / 'published.git').path}"
    tip = build.main_of(rig)
    for commit in (tip, build.change(rig, tip, {"a": b"1"})):
        push_branch(rig, url, "main", commit)
        push_branch(rig, url, "main", commit)
        assert Repository.open(tmp_path / "published.git").refs.find(branch_ref("main")) == commit


def test_publishing_never_overwrites_what_others_pushed_there(rig: Repository, upstream: Repository) -> None:
    theirs = build.main_of(upstream)
    with pytest.raises(UpstreamRefused, match="rejected"):
        push_branch(rig, f"file://{upstream.path}", "main", build.main_of(rig))
    assert build.main_of(upstream) == theirs


@pytest.mark.parametrize(
    "url", ["https://host.invalid/x.git", "ssh://git@host.invalid/x", "git@host.invalid:x/y.git", "http://host.invalid:8080/x"]
)
def test_remote_urls_are_allowed(url: str) -> None:
    check_upstream_url(url, local_upstreams=None)


@pytest.mark.parametrize(
    "url",
    [
        "ext::sh -c id",
        "-upload-pack=x",
        "/etc",
        "file:///etc",
        "git://host.invalid/x",
        "ssh://-oProxyCommand=x/y",
        "",
        "file://host/srv/x",
        "fd::7",
    ],
)
def test_urls_that_reach_for_this_machine_or_run_programs_are_refused(url: str) -> None:
    with pytest.raises(UpstreamRefused):
        check_upstream_url(url, local_upstreams=None)


def test_file_urls_are_allowed_below_one_folder_only_even_through_links_and_dots(tmp_path: Path) -> None:
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (allowed / "escape").symlink_to(tmp_path)
    check_upstream_url(f"file://{allowed}/rig.git", local_upstreams=allowed)
    for path in (f"{allowed}/../secret.git", f"{allowed}/escape/secret.git", f"{allowed}/%2e%2e/secret.git", f"{tmp_path}/allowed-not/x"):
        with pytest.raises(UpstreamRefused, match="not below"):
            check_upstream_url(f"file://{path}", local_upstreams=allowed)
