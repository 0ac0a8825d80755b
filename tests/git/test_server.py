"""The repo-server: who may read, how transfers end, trees, health."""

from __future__ import annotations

import contextlib
import http.client
import json
import secrets
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from gastown.polecat.tree_source import TreeSourceError, fetch_tree, tree_id
from gastown_git.git_process import git_environment
from gastown_git.signed_url import tree_url
from support import git_builder as build
from support import git_server
from support.eventually import eventually
from support.git_server import NOW, TREE_KEY, Client, Server


def raw_post(service: str, length: int) -> bytes:
    """Head of a request whose body a test sends as it likes."""
    lines = [f"POST /town/greeter.git/{service} HTTP/1.1", "Host: x", "Authorization: Bearer furiosa", f"Content-Length: {length}"]
    return "\r\n".join([*lines, f"Content-Type: application/x-{service}-request", "", ""]).encode()


ADVERTISEMENT = "/town/greeter.git/info/refs?service=git-upload-pack"


def get(server: Server, path: str, **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, response.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")


def fill(server: Server, files: int, size: int) -> None:
    """Give main enough content that a clone takes a while."""
    main = build.main_of(server.rig)
    content: dict[str, build.Entry | None] = {f"f{number}": secrets.token_bytes(size) for number in range(files)}
    tip = build.change(server.rig, main, content)
    server.rig.refs.move_protected_branch("refs/heads/main", new=tip, expected=main)


def quarantines(server: Server) -> list[Path]:
    """Folders in which git collects a push before it is accepted."""
    return list((server.rig.path / "objects").glob("tmp_objdir-*"))


def test_a_clone_has_main_and_its_files(server: Server, client: Client) -> None:
    assert client.run("rev-parse", "origin/main").output == build.main_of(server.rig)
    assert (client.folder / "README").read_text() == "hello\n"


def test_bookkeeping_refs_are_not_shown_to_clients(server: Server, client: Client) -> None:
    main = build.main_of(server.rig)
    server.rig.keep(main)
    server.rig.hold_candidate(main)
    server.rig.refs.create(f"refs/evidence/{'ab' * 32}/{server.rig.tree_of(main)}", main)
    server.rig.pin_merge_request("gp-1-abc", main)
    shown = client.run("ls-remote", "origin").output.split()[1::2]
    assert shown == ["HEAD", "refs/heads/main", "refs/mr/gp-1-abc"]


def test_a_blobless_and_a_shallow_clone_work(server: Server, tmp_path: Path) -> None:
    fill(server, 3, 10)
    for option in ("--filter=blob:none", "--depth=1"):
        folder = tmp_path / option.strip("-").replace(":", "-")
        Client.run(Client.__new__(Client), "clone", "--quiet", option, server.url(), str(folder), cwd=tmp_path)
        assert len((folder / "f2").read_bytes()) == 10


@pytest.mark.parametrize(
    ("header", "told"),
    [
        pytest.param({}, "no token", id="no token"),
        pytest.param({"Authorization": "Bearer wrong"}, "not valid here, or its session is over", id="unknown token"),
        pytest.param({"Authorization": "Basic !!!"}, "no token", id="broken Basic"),
        pytest.param({"Authorization": "Basic eDo="}, "no token", id="empty password"),
        pytest.param({"Authorization": "Digest x"}, "no token", id="another scheme"),
    ],
)
def test_without_a_valid_token_the_answer_is_401_and_how_to_get_one(server: Server, header: dict[str, str], told: str) -> None:
    status, text = get(server, ADVERTISEMENT, **header)
    assert status == 401
    assert told in text
    assert "gt credential" in text


@pytest.mark.parametrize("authorization", ["Bearer furiosa", "bearer furiosa", "Basic eDpmdXJpb3Nh"])
def test_tokens_are_taken_as_bearer_and_as_password(server: Server, authorization: str) -> None:
    assert get(server, ADVERTISEMENT, Authorization=authorization)[0] == 200


def test_git_shows_why_it_was_refused(server: Server, tmp_path: Path) -> None:
    client = Client.__new__(Client)
    refused = client.run("clone", server.url("wrong"), str(tmp_path / "x"), ok=False, cwd=tmp_path)
    assert "Authentication failed" in refused.error
    stranger = client.run("clone", server.url("stranger"), str(tmp_path / "x"), ok=False, cwd=tmp_path)
    assert "other/polecats/slit may not read town/greeter" in stranger.error


def test_a_credential_helper_that_is_asked_at_each_use_works(server: Server, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("furiosa")
    helper = f"!f() {{ echo username=x; echo password=$(cat {tmp_path}/token); }}; f"
    client = Client.__new__(Client)
    client.folder = tmp_path / "clone"
    configuration = (("credential.helper", ""), ("credential.helper", helper))
    client.run("clone", "--quiet", server.url(None), str(client.folder), cwd=tmp_path, configuration=configuration)
    server.authenticator.identities["rotated"] = server.authenticator.identities.pop("furiosa")
    assert client.run("fetch", "origin", ok=False, configuration=configuration).exit_code != 0
    (tmp_path / "token").write_text("rotated")
    client.run("fetch", "origin", configuration=configuration)


def test_when_tokens_can_not_be_checked_nobody_gets_in_and_is_told_to_retry(server: Server) -> None:
    server.authenticator.broken = True
    status, text = get(server, ADVERTISEMENT, Authorization="Bearer furiosa")
    assert (status, "try again" in text) == (503, True)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        pytest.param("/town/nosuch.git/info/refs?service=git-upload-pack", 403, id="a rig of the town the agent is not on"),
        pytest.param("/town/..%2f..%2fgreeter.git/info/refs?service=git-upload-pack", 404, id="dots and slashes in a name"),
        pytest.param("/TOWN/greeter.git/info/refs?service=git-upload-pack", 404, id="capitals"),
        pytest.param("/town/greeter.git/info/refs", 403, id="dumb protocol"),
        pytest.param("/town/greeter.git/info/refs?service=git-upload-archive", 403, id="another service"),
        pytest.param("/town/greeter.git/HEAD", 404, id="a file of the repository"),
        pytest.param("/town/greeter.git/objects/info/packs", 404, id="list of packs"),
        pytest.param("/town/greeter.git/config", 404, id="settings"),
        pytest.param("/", 404, id="root"),
    ],
)
def test_nothing_else_is_served(server: Server, path: str, status: int) -> None:
    assert get(server, path, Authorization="Bearer furiosa")[0] == status


def test_a_repository_that_is_not_there_yet_is_said_so(server: Server) -> None:
    status, text = get(server, "/town/later.git/info/refs?service=git-upload-pack", Authorization="Bearer joe")
    assert status == 404
    assert "RepositoryReady" in text


def test_a_compressed_request_is_understood(server: Server, client: Client) -> None:
    commits = [client.run("commit-tree", "-m", str(number), "HEAD^{tree}").output for number in range(60)]
    for number, commit in enumerate(commits):
        client.run("update-ref", f"refs/heads/unknown/{number}", commit)
    fill(server, 3, 10)
    done = subprocess.run(
        ["git", "fetch", "origin"],
        cwd=client.folder,
        env=git_environment((), {"GIT_TRACE_CURL": "1", "GIT_TRACE_CURL_NO_DATA": "1"}),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "Content-Encoding: gzip" in done.stderr  # else this test proves nothing


def test_a_request_that_only_claims_to_be_compressed_is_an_error_of_the_client(server: Server) -> None:
    headers = {"Authorization": "Bearer furiosa", "Content-Encoding": "gzip"}
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("POST", "/town/greeter.git/git-receive-pack", body=b"this is not gzip at all", headers=headers)
    response = connection.getresponse()
    assert (response.status, b"not gzip" in response.read()) == (400, True)


@pytest.mark.parametrize("body", [b"", b"00", b"zzzz", b"0005x", b"0010hello world\n0000", b"push-cert"])
def test_what_is_no_push_is_an_error_of_the_client(server: Server, body: bytes) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("POST", "/town/greeter.git/git-receive-pack", body=body, headers={"Authorization": "Bearer furiosa"})
    assert connection.getresponse().status == 400


def start_of_push(server: Server, ref: str = "refs/heads/polecat/greeter-furiosa/x") -> bytes:
    """A list of one new branch; the pack is up to the test."""
    command = f"{'0' * 40} {build.main_of(server.rig)} {ref}\0report-status"
    return f"{len(command) + 4:04x}{command}0000".encode()


def test_a_pack_that_git_does_not_read_to_the_end_is_read_here_so_that_the_client_gets_the_answer(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.connect()
    connection.auto_open = 0  # no secret second connection
    headers = {"Authorization": "Bearer furiosa", "Content-Type": "application/x-git-receive-pack-request"}
    connection.request("POST", "/town/greeter.git/git-receive-pack", body=start_of_push(server) + b"no pack" * 1_000_000, headers=headers)
    assert b"unpack" in connection.getresponse().read()
    connection.request("GET", "/healthz")
    assert connection.getresponse().status == 200


def test_a_client_that_goes_away_leaves_no_child(server: Server) -> None:
    fill(server, 400, 20_000)
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        body = f"0032want {build.main_of(server.rig)}\n00000009done\n".encode()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(raw_post("git-upload-pack", len(body)) + body)
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        eventually(lambda: len(server.children()) >= 2, describe="git and upload-pack at work")
    eventually(lambda: server.children() == [], timeout_seconds=30, describe="children gone with their client")
    eventually(lambda: "gastown_repo_children 0" in get(server, "/metrics")[1])


def test_a_pusher_that_goes_away_half_way_leaves_no_child_and_no_ref(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(raw_post("git-receive-pack", 1_000_000) + start_of_push(server) + b"PACK\0\0\0\2\0\0\0\5")
        eventually(lambda: len(server.children()) >= 1, describe="git at work")
        eventually(lambda: quarantines(server) != [], describe="objects on their way in")
    eventually(lambda: server.children() == [], describe="children gone with their client")
    assert server.rig.refs.find_all("refs/heads/polecat/") == {}
    assert quarantines(server) == []  # git was asked to end, and tidied up


def test_a_slow_transfer_that_never_stands_still_is_left_alone(tmp_path: Path) -> None:
    with git_server.running(tmp_path / "data", idle_seconds=0.6) as server:
        body = f"0032want {build.main_of(server.rig)}\n00000009done\n".encode()
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            connection.sendall(raw_post("git-upload-pack", len(body)))
            for start in range(0, len(body), 10):
                connection.sendall(body[start : start + 10])
                threading.Event().wait(0.2)  # what is tested is time itself
            answer = b""
            while b"PACK" not in answer:
                piece = connection.recv(1000)
                assert piece, answer
                answer += piece


@pytest.mark.parametrize("service", ["git-upload-pack", "git-receive-pack"])
def test_a_transfer_that_stands_still_is_ended(tmp_path: Path, service: str) -> None:
    with git_server.running(tmp_path / "data", idle_seconds=0.5) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection, contextlib.suppress(ConnectionResetError):
            connection.sendall(raw_post(service, 1000))
            while connection.recv(1000):
                pass
        eventually(lambda: server.children() == [])
        assert f'service="{service}",status="408"' in get(server, "/metrics")[1]


def test_requests_beyond_the_limit_wait_and_then_are_told_to_retry(tmp_path: Path) -> None:
    with git_server.running(tmp_path / "data", max_children=1, wait_seconds=0.2) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            connection.sendall(raw_post("git-upload-pack", 1000))
            eventually(lambda: len(server.children()) >= 1)
            status, text = get(server, ADVERTISEMENT, Authorization="Bearer furiosa")
            assert (status, "too many transfers" in text) == (503, True)
        eventually(lambda: get(server, ADVERTISEMENT, Authorization="Bearer furiosa")[0] == 200)


def test_many_clones_at_once_share_the_children(tmp_path: Path) -> None:
    with git_server.running(tmp_path / "data", max_children=2) as server:
        threads = [threading.Thread(target=Client, args=(tmp_path / f"c{number}", server.url())) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=100)
        assert all((tmp_path / f"c{number}" / "README").exists() for number in range(6))


# -- trees


def link(server: Server, tree: str, *, rig: str = "greeter", expires: float = NOW + 60) -> str:
    return tree_url(f"http://127.0.0.1:{server.port}", TREE_KEY, "town", rig, tree, int(expires))


def test_a_signed_link_gives_exactly_the_tree_without_a_token(server: Server, tmp_path: Path) -> None:
    content: dict[str, build.Entry] = {
        ".gitattributes": b"tests export-ignore\n",
        "tests/test_all.py": b"assert 1\n",
        "run": (build.PROGRAM, b"#!/bin/sh\n"),
        "link": (build.LINK, b"run"),
        "large": b"x" * 5_000_000,
        **{f"many/f{number}": str(number).encode() for number in range(300)},
    }
    tree = build.tree(server.rig, content)
    fetch_tree(link(server, tree), tree, tmp_path / "source", 60)
    assert tree_id(tmp_path / "source") == tree
    assert (tmp_path / "source" / "tests" / "test_all.py").exists()


def test_a_link_that_is_expired_changed_or_for_another_rig_is_refused(server: Server, tmp_path: Path) -> None:
    tree = server.rig.tree_of(build.main_of(server.rig))
    good = link(server, tree)
    bad = [
        link(server, tree, expires=NOW - 1),
        good.replace("greeter", "other"),
        good[:-1] + ("0" if good[-1] != "0" else "1"),
        good.split("&")[0],
    ]
    for url in bad:
        with pytest.raises(TreeSourceError, match="403: the link is not genuine or has expired"):
            fetch_tree(url, tree, tmp_path / "source", 20)


def test_a_link_to_what_is_no_tree_here_is_not_found(server: Server, tmp_path: Path) -> None:
    for object_id, rig in [(build.main_of(server.rig), "greeter"), ("12" * 20, "greeter"), ("12" * 20, "nosuch")]:
        with pytest.raises(TreeSourceError, match="404: no tree"):
            fetch_tree(link(server, object_id, rig=rig), object_id, tmp_path / "source", 20)


def test_an_archive_that_can_not_be_completed_is_cut_off_and_never_looks_whole(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gastown.polecat.tree_source._FIRST_PAUSE_SECONDS", 0.01)
    blob = server.rig.write_blob(b"soon gone")
    tree = build.tree(server.rig, {"a": b"x" * 2_000_000, "b": b"soon gone"})
    (server.rig.path / "objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(TreeSourceError, match="gave up"):
        fetch_tree(link(server, tree), tree, tmp_path / "source", 20)
    assert not (tmp_path / "source").exists()


# -- health


def test_health_readiness_and_counters_need_no_token(server: Server, client: Client) -> None:
    assert get(server, "/healthz") == (200, "ok\n")
    assert get(server, "/readyz") == (200, "ok\n")
    client.commit("x", "1")
    client.run("push", "origin", "HEAD:refs/heads/main", ok=False)
    text = get(server, "/metrics")[1]
    assert "gastown_repo_refused_refs_total 1" in text
    assert 'gastown_repo_requests_total{service="git-receive-pack",status="200"} 1' in text
    assert "nosuch" not in text


def test_not_ready_without_its_data_folder(server: Server) -> None:
    server.data.rename(server.data.with_name("gone"))
    status, text = get(server, "/readyz")
    server.data.with_name("gone").rename(server.data)
    assert (status, "not there or not writable" in text) == (503, True)


def test_a_quick_fetch_and_push_stay_quick(server: Server, client: Client) -> None:
    client.commit("x", "1")
    started = time.monotonic()
    client.run("push", "origin", "HEAD:refs/heads/polecat/greeter-furiosa/x")
    client.run("fetch", "origin")
    seconds = time.monotonic() - started
    assert seconds < 60, json.dumps({"seconds": seconds})
