from __future__ import annotations

import socket
from pathlib import Path

import pytest

from gastown.local.ports import is_free, keep_ports

NAMES = ("etcd", "kube-apiserver")


def listen(port: int) -> socket.socket:
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.1", port))
    server.listen(1)
    return server


def test_ports_are_kept_over_restarts(tmp_path: Path) -> None:
    first = keep_ports(tmp_path / "ports.json", NAMES, held=())
    assert len(set(first.values())) == len(NAMES)
    assert keep_ports(tmp_path / "ports.json", NAMES, held=()) == first


def test_a_kept_port_that_somebody_took_is_replaced_and_the_other_stays(tmp_path: Path) -> None:
    first = keep_ports(tmp_path / "ports.json", NAMES, held=())
    with listen(first["etcd"]):
        second = keep_ports(tmp_path / "ports.json", NAMES, held=())
    assert second["etcd"] != first["etcd"]
    assert second["kube-apiserver"] == first["kube-apiserver"]


def test_a_port_on_which_our_own_process_listens_is_not_taken(tmp_path: Path) -> None:
    first = keep_ports(tmp_path / "ports.json", NAMES, held=())
    with listen(first["etcd"]):
        assert keep_ports(tmp_path / "ports.json", NAMES, held=("etcd",)) == first


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"etcd": "many"}', '{"etcd": 70000}', '{"etcd": 0}'],
    ids=["empty", "cut off", "a list", "a word", "beyond all ports", "zero"],
)
def test_a_damaged_file_costs_only_the_old_ports(tmp_path: Path, content: str) -> None:
    (tmp_path / "ports.json").write_text(content)
    ports = keep_ports(tmp_path / "ports.json", NAMES, held=())
    assert all(is_free(port) for port in ports.values())


def test_two_names_never_share_a_port(tmp_path: Path) -> None:
    (tmp_path / "ports.json").write_text('{"etcd": 23456, "kube-apiserver": 23456}')
    ports = keep_ports(tmp_path / "ports.json", NAMES, held=())
    assert ports["etcd"] != ports["kube-apiserver"]
