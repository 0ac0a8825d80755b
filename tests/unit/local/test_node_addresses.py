"""Every pod has a loopback address of its own."""

from __future__ import annotations

import ipaddress
import socket

from hypothesis import given
from hypothesis import strategies as st

from gastown.local.node.addresses import pod_address

NODE = "laptop"
NETWORK = ipaddress.ip_network("127.64.0.0/10")
names = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)


@given(names, names)
def test_an_address_lies_in_the_range_and_looks_like_a_host(namespace: str, name: str) -> None:
    address = pod_address(NODE, namespace, name)
    assert ipaddress.ip_address(address) in NETWORK
    assert address.rpartition(".")[2] not in ("0", "255")
    assert pod_address(NODE, namespace, name) == address


def test_addresses_stay_the_same_over_releases() -> None:
    assert pod_address("gastown-default-1a2b", "gastown-system", "repo-0") == "127.110.172.2"


def test_two_towns_of_one_machine_use_different_addresses() -> None:
    assert pod_address("gastown-default-1a2b", "gastown-system", "repo-0") != pod_address(
        "gastown-default-3c4d", "gastown-system", "repo-0"
    )


def test_a_thousand_pods_hardly_ever_meet() -> None:
    found = {pod_address(NODE, "town", f"greeter-{number}") for number in range(1000)}
    assert len(found) >= 998


def test_namespace_and_name_are_kept_apart() -> None:
    assert pod_address(NODE, "a", "b-c") != pod_address(NODE, "a-b", "c")


def test_a_program_can_listen_there() -> None:
    with socket.create_server((pod_address(NODE, "town", "web"), 0)) as server:
        assert server.getsockname()[0] == pod_address(NODE, "town", "web")
