"""Where the API server serves a kind, and the query strings of the verbs; shared by both clients."""

from __future__ import annotations

from gastown.api.kinds import Kind

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
# JSON is YAML, so the body of an apply needs no YAML library.
APPLY_PATCH = "application/apply-patch+yaml"

# What needs no escape in a path segment or a query value; urllib.parse would cost the CLIs 3 ms.
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")


def quoted(text: str) -> str:
    """Percent-encoded for a path segment or a query value; bytes that a shell handed on and that are no UTF-8, too."""
    return "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in text.encode("utf-8", "surrogateescape"))


def collection(kind: Kind, namespace: str | None) -> str:
    """Path of all objects of a kind, in one namespace or (None) in all."""
    root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    scope = f"/namespaces/{quoted(namespace)}" if namespace else ""
    return f"{root}{scope}/{kind.plural}"


def item(kind: Kind, namespace: str | None, name: str, subresource: str = "") -> str:
    """Path of one object.

    Raises:
        ValueError: The name is empty; the path would be the collection's, and a DELETE of it deletes everything.
    """
    if not name:
        raise ValueError(f"{kind.name} in namespace {namespace or '-'}: empty name; pass metadata.name")
    tail = f"/{subresource}" if subresource else ""
    return f"{collection(kind, namespace)}/{quoted(name)}{tail}"


def with_query(path: str, **query: str | int | bool | None) -> str:
    """The path with a query string; None and "" are left out, booleans become true and false."""
    told = [f"{key}={quoted(_text(value))}" for key, value in query.items() if value is not None and value != ""]
    return f"{path}?{'&'.join(told)}" if told else path


def _text(value: str | int) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
