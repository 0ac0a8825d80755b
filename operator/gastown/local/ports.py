"""Loopback ports of the control plane: chosen once, kept over restarts, replaced only when somebody else took one meanwhile."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Collection, Sequence
from pathlib import Path

from gastown.local.atomic_file import write_atomically
from gastown.local.errors import LocalTownError

# Below the range from which Linux takes the ports of outgoing connections (32768 and up): none of those can take ours between two starts.
_FIRST, _LAST = 20_000, 32_000
_TRIES = 200


def keep_ports(file: Path, names: Sequence[str], held: Collection[str]) -> dict[str, int]:
    """A port for each name, the kept ones where they are still free.

    Args:
        file: Where they are kept.
        names: One per listener.
        held: Names whose process runs and listens: their port is taken, by us.

    Returns:
        The port of each name, already written to the file.

    Raises:
        LocalTownError: No free port was found.
    """
    kept = _read(file)
    ports: dict[str, int] = {}
    for name in names:
        port = kept.get(name, 0)
        if not port or (name not in held and (port in ports.values() or not is_free(port))):
            port = _free_port({*kept.values(), *ports.values()})
        ports[name] = port
    if ports != kept:
        write_atomically(file, json.dumps(ports, indent=1) + "\n")
    return ports


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen on this loopback address now."""
    with socket.socket() as probe:
        # As Go's servers do: connections of the last run that linger in TIME_WAIT do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            # Without listen, two sockets with SO_REUSEADDR may share a port that nobody listens on yet.
            probe.listen(1)
        except OSError:
            return False
    return True


def _free_port(taken: Collection[int]) -> int:
    for _ in range(_TRIES):
        # At random: towns that start at the same moment would else all try the same ones.
        port = random.randint(_FIRST, _LAST)  # noqa: S311 - not a secret
        if port not in taken and is_free(port):
            return port
    raise LocalTownError(f"no free port on 127.0.0.1 between {_FIRST} and {_LAST}: end some local servers, then try again")


def _read(file: Path) -> dict[str, int]:
    try:
        content = json.loads(file.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {str(name): port for name, port in content.items() if isinstance(port, int) and 0 < port < 65536}
