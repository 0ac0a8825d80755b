"""Kubeconfigs of the town's identities."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import yaml

from gastown.local.atomic_file import write_atomically
from gastown.local.certificates import Pair


def write_kubeconfig(file: Path, server: str, authority: Path, identity: Pair, *, context: str, namespace: str = "default") -> None:
    """Write a kubeconfig that holds its certificates itself, so that it can be copied; unchanged content is left alone.

    Args:
        server: https URL.
        authority: Certificate of the authority that signed the server's.
        context: Its name, also of cluster and user; unique per town, so that kubeconfigs can be merged.
        namespace: Default of the context.
    """
    user = f"{context}-{file.stem}"
    content: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "clusters": [{"name": context, "cluster": {"server": server, "certificate-authority-data": _encoded(authority)}}],
        "users": [
            {
                "name": user,
                "user": {"client-certificate-data": _encoded(identity.certificate), "client-key-data": _encoded(identity.key)},
            }
        ],
        "contexts": [{"name": context, "context": {"cluster": context, "user": user, "namespace": namespace}}],
    }
    text = yaml.safe_dump(content, sort_keys=False)
    if not file.exists() or file.read_text() != text:
        write_atomically(file, text)


def _encoded(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()
