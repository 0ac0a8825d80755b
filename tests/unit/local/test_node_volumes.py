"""Generated files of volumes: swapped whole, renewed in time, rewritten only when something changed."""

# ruff: noqa: ARG002 - Shelf keeps the signatures of what it stands for

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gastown.local.node.atomic_files import FileContent, write_files
from gastown.local.node.references import MissingReference, References, Token
from gastown.local.node.rewriting import rewrite
from gastown.local.node.tokens import renewal_time
from gastown.local.node.volumes import PodVolumes, VolumeProblem


def token(issued: float, expires: float, number: int = 0) -> str:
    """Something that looks like a token of that life."""
    payload = json.dumps({"iat": issued, "exp": expires, "jti": number}).encode()
    return f"h.{base64.urlsafe_b64encode(payload).decode().rstrip('=')}.s"


class Shelf(References):
    """References without an API server: what it holds is what there is."""

    def __init__(self) -> None:
        self.maps: dict[str, dict[str, bytes]] = {}
        self.token_life = (0.0, 3600.0)
        self.tokens_made = 0

    async def config_map(self, namespace: str, name: str, *, optional: bool = False) -> dict[str, bytes] | None:
        if name in self.maps:
            return self.maps[name]
        if optional:
            return None
        raise MissingReference(f'configmap "{name}" not found')

    async def token(self, pod: Mapping[str, Any], audience: str, seconds: int) -> Token:
        self.tokens_made += 1
        now = time.time()
        return Token(token(now + self.token_life[0], now + self.token_life[1], self.tokens_made), now + self.token_life[1])


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


def volumes_of(tmp_path: Path, shelf: Shelf, *volumes: dict[str, Any]) -> PodVolumes:
    pod = {
        "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"a": "b"}},
        "spec": {"volumes": list(volumes), "containers": []},
    }
    return PodVolumes(pod, tmp_path / "disk", tmp_path / "memory", shelf, {})


def test_files_are_swapped_in_one_rename(tmp_path: Path) -> None:
    one, two = (
        {"a": FileContent(b"1", 0o644), "b/c": FileContent(b"2", 0o400)},
        {"a": FileContent(b"3", 0o644), "d": FileContent(b"4", 0o644)},
    )
    assert write_files(tmp_path / "v", one)
    assert (tmp_path / "v" / "b" / "c").read_bytes() == b"2"
    assert (tmp_path / "v" / "b" / "c").stat().st_mode & 0o777 == 0o400
    before = (tmp_path / "v" / "..data").readlink()
    assert write_files(tmp_path / "v", two)
    assert (tmp_path / "v" / "..data").readlink() != before
    assert {path.name for path in (tmp_path / "v").iterdir() if not path.name.startswith("..")} == {"a", "d"}
    assert not (tmp_path / "v" / before).exists()


def test_unchanged_files_are_left_alone(tmp_path: Path) -> None:
    files = {"a": FileContent(b"1", 0o644)}
    write_files(tmp_path / "v", files)
    before = (tmp_path / "v" / "..data").readlink()
    assert not write_files(tmp_path / "v", files)
    assert (tmp_path / "v" / "..data").readlink() == before


def test_a_config_map_change_is_taken_over_by_a_refresh(tmp_path: Path, shelf: Shelf) -> None:
    shelf.maps["conf"] = {"key": b"old"}
    volumes = volumes_of(tmp_path, shelf, {"name": "v", "configMap": {"name": "conf"}})
    asyncio.run(volumes.prepare())
    assert volumes.needs_polling()
    shelf.maps["conf"] = {"key": b"new"}
    asyncio.run(volumes.refresh())
    assert (tmp_path / "memory" / "v" / "key").read_bytes() == b"new"


def test_a_token_is_kept_until_four_fifths_of_its_life(tmp_path: Path, shelf: Shelf) -> None:
    source = {"serviceAccountToken": {"path": "token", "audience": "gastown-repo", "expirationSeconds": 3600}}
    volume = {"name": "repo", "projected": {"sources": [source]}}
    volumes = volumes_of(tmp_path, shelf, volume)
    asyncio.run(volumes.prepare())
    asyncio.run(volumes.refresh())
    assert shelf.tokens_made == 1
    renewal = volumes.next_renewal()
    assert renewal is not None
    assert abs(renewal - time.time() - 2880) < 5
    assert not volumes.needs_polling()


def test_a_token_past_four_fifths_is_renewed_also_by_an_agent_that_did_not_make_it(tmp_path: Path, shelf: Shelf) -> None:
    volume = {"name": "repo", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}
    shelf.token_life = (-3000.0, 600.0)
    asyncio.run(volumes_of(tmp_path, shelf, volume).prepare())
    old = (tmp_path / "memory" / "repo" / "token").read_text()
    shelf.token_life = (0.0, 3600.0)
    adopted = volumes_of(tmp_path, shelf, volume)
    asyncio.run(adopted.prepare())
    assert (tmp_path / "memory" / "repo" / "token").read_text() != old
    asyncio.run(volumes_of(tmp_path, shelf, volume).prepare())
    assert shelf.tokens_made == 2


def test_the_volume_of_the_default_token_is_not_polled(tmp_path: Path, shelf: Shelf) -> None:
    sources = [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
    ]
    shelf.maps["kube-root-ca.crt"] = {"ca.crt": b"pem"}
    volumes = volumes_of(tmp_path, shelf, {"name": "kube-api-access", "projected": {"sources": sources}})
    asyncio.run(volumes.prepare())
    assert not volumes.needs_polling()
    assert (tmp_path / "memory" / "kube-api-access" / "namespace").read_text() == "n"


@pytest.mark.parametrize(
    ("volume", "error", "told"),
    [
        pytest.param({"configMap": {"name": "none"}}, MissingReference, 'volume "v": configmap "none" not found', id="a missing map"),
        pytest.param(
            {"configMap": {"name": "conf", "items": [{"key": "x", "path": "x"}]}}, MissingReference, "has no key x", id="a missing key"
        ),
        pytest.param({"nfs": {"server": "s", "path": "/"}}, VolumeProblem, 'volume "v" is of kind nfs', id="an unsupported kind"),
        pytest.param({"hostPath": {"path": "/no/such"}}, VolumeProblem, "/no/such", id="a host path that is not there"),
        pytest.param({"hostPath": {"path": "/etc", "type": "File"}}, VolumeProblem, "is not a File", id="a host path of another type"),
        pytest.param(
            {"downwardAPI": {"items": [{"path": "x", "fieldRef": {"fieldPath": "spec.x"}}]}}, VolumeProblem, "spec.x", id="an unknown field"
        ),
    ],
)
def test_a_volume_that_cannot_be_made_is_named(
    tmp_path: Path, shelf: Shelf, volume: dict[str, Any], error: type[Exception], told: str
) -> None:
    shelf.maps["conf"] = {"key": b"value"}
    with pytest.raises(error) as caught:
        asyncio.run(volumes_of(tmp_path, shelf, {"name": "v", **volume}).prepare())
    assert told in str(caught.value)
    assert 'volume "v"' in str(caught.value)


def test_optional_sources_may_be_absent(tmp_path: Path, shelf: Shelf) -> None:
    volumes = volumes_of(tmp_path, shelf, {"name": "v", "configMap": {"name": "none", "optional": True}})
    asyncio.run(volumes.prepare())
    assert [path for path in (tmp_path / "memory" / "v").iterdir() if not path.name.startswith("..")] == []


def test_a_volume_may_not_replace_the_root(tmp_path: Path, shelf: Shelf) -> None:
    volumes = volumes_of(tmp_path, shelf, {"name": "v", "emptyDir": {}})
    asyncio.run(volumes.prepare())
    with pytest.raises(VolumeProblem, match="root directory"):
        volumes.binds({"volumeMounts": [{"name": "v", "mountPath": "//"}]}, {})
    with pytest.raises(VolumeProblem, match="names no volume"):
        volumes.binds({"volumeMounts": [{"name": "other", "mountPath": "/x"}]}, {})


def test_a_sub_path_expression_is_expanded(tmp_path: Path, shelf: Shelf) -> None:
    volumes = volumes_of(tmp_path, shelf, {"name": "v", "emptyDir": {}})
    asyncio.run(volumes.prepare())
    [bind] = volumes.binds({"volumeMounts": [{"name": "v", "mountPath": "/x", "subPathExpr": "$(NAME)/log"}]}, {"NAME": "furiosa"})
    assert bind.source == str(tmp_path / "disk" / "v" / "furiosa" / "log")


@pytest.mark.parametrize("text", ["", "no token", "a.b.c", "a.e30.c"])
def test_what_is_no_token_is_due_at_once(text: str) -> None:
    assert renewal_time(text) == 0.0


def test_a_token_of_a_year_is_renewed_daily() -> None:
    assert renewal_time(token(1000.0, 1000.0 + 365 * 86400)) == 1000.0 + 86400


PATHS = {"/workspace": "/host/w", "/workspace/cache": "/other/c", "/etc/key": "/host/k"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/workspace", "/host/w"),
        ("cat /workspace/file", "cat /host/w/file"),
        ("/workspace/cache/x", "/other/c/x"),
        ("/workspaces/x", "/workspaces/x"),
        ("/my/workspace", "/my/workspace"),
        ("--dir=/workspace:/etc/key", "--dir=/host/w:/host/k"),
        ("/etc/key.pem", "/etc/key.pem"),
        ("'/workspace'", "'/host/w'"),
    ],
)
def test_paths_are_rewritten_only_where_a_whole_path_begins(text: str, expected: str) -> None:
    assert rewrite(text, PATHS) == expected


@given(st.text(alphabet="abc /.-_", max_size=40))
def test_text_without_a_mount_path_is_never_changed(text: str) -> None:
    assert rewrite(text, PATHS) == text
    assert rewrite(text, {}) == text
