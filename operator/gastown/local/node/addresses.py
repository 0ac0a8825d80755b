"""Every pod has its own loopback address, so two pods never fight over a port. Pure; also used by `gt up` and by tests."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

# 127.64.0.0/10 without addresses that end in .0 or .255, which look like a network or a broadcast to careless programs.
_FIRST_BLOCK = (127 << 16) | (64 << 8)
_BLOCKS = 1 << 14
_HOSTS_PER_BLOCK = 254


def pod_address(node: str, namespace: str, name: str) -> str:
    """The address a pod's programs listen on, the same for every pod of that name on that node.

    The node's name is part of it, so that several towns on one machine keep out of each other's way. All of 127.0.0.0/8 is local on
    Linux without any set-up. Among 250 pods two share an address about once in 130 towns; they then share ports as on hostNetwork,
    nothing worse.
    """
    number = int.from_bytes(hashlib.sha256(f"{node}/{namespace}/{name}".encode()).digest()[:8])
    block, host = divmod(number % (_BLOCKS * _HOSTS_PER_BLOCK), _HOSTS_PER_BLOCK)
    prefix = _FIRST_BLOCK + block
    return f"{prefix >> 16}.{prefix >> 8 & 0xFF}.{prefix & 0xFF}.{host + 1}"


def address_of(pod: Mapping[str, Any]) -> str:
    """The address of a pod that is bound to a node."""
    return pod_address(pod["spec"]["nodeName"], pod["metadata"]["namespace"], pod["metadata"]["name"])
