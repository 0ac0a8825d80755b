"""Links to one tree of one rig that work without a token until they expire; gate Jobs hold no credential.

The key lives in the repo pod's memory only: a new pod means new links, and the refinery asks for a new gate run.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
from pathlib import Path

from gastown_git.ref_names import ObjectId

KEY_BYTES = 32


def load_key(path: Path) -> bytes:
    """Read the signing key, making it first if no other process has.

    Args:
        path: A file in memory that all processes of the pod share.

    Returns:
        32 bytes, the same for all callers, however many start at once.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        own = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        with os.fdopen(os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(own)  # complete or not there; rename would replace the key another process already uses
        own.unlink()
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise ValueError(f"tree key {path} has {len(key)} bytes instead of {KEY_BYTES}; delete it and restart the pod")
    return key


def sign_tree(key: bytes, namespace: str, rig: str, tree: ObjectId, expires: int) -> str:
    """Sign the right to read one tree until a time.

    Args:
        key: See `load_key`.
        namespace: No slash in it, as in every name here: the signed text reads one way only.
        rig: Name of the rig.
        tree: Tree id.
        expires: Seconds since 1970.

    Returns:
        HMAC-SHA256 in hex.
    """
    return hmac.new(key, f"{namespace}/{rig}/{tree}/{expires}".encode(), hashlib.sha256).hexdigest()


def is_signed(key: bytes, namespace: str, rig: str, tree: ObjectId, expires: str, signature: str, now: float) -> bool:
    """Tell whether a link is genuine and not expired; takes the same time for every wrong signature.

    Args:
        expires: As it stands in the link; anything but plain digits is refused.
        signature: As it stands in the link.
        now: Seconds since 1970.
    """
    if not (expires.isascii() and expires.isdigit() and len(expires) <= 12 and signature.isascii()):
        return False
    genuine = hmac.compare_digest(sign_tree(key, namespace, rig, tree, int(expires)), signature)
    return genuine and now <= int(expires)


def tree_url(repo_url: str, key: bytes, namespace: str, rig: str, tree: ObjectId, expires: int) -> str:
    """Build the link that a gate Job downloads its source from.

    Args:
        repo_url: Address of the repo-server as Jobs reach it, such as `http://repo.gastown-system.svc:8080`.
        expires: Seconds since 1970; long enough for a Job that waits for a node.
    """
    signature = sign_tree(key, namespace, rig, tree, expires)
    return f"{repo_url.rstrip('/')}/{namespace}/{rig}.git/tree/{tree}.tar?exp={expires}&sig={signature}"
