"""Blocking client of the API server, standard library only: for CLIs and the harness, where an import costs more than a call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gastown.api.kinds import Kind
from gastown.kube.configuration import Configuration
from gastown.kube.retry import DEFAULT_POLICY, RetryPolicy

Json = dict[str, Any]


class Client:
    """One identity at one API server over one keep-alive connection; not for use by several threads at once.

    Every verb has a deadline over all its attempts, raises the errors of `gastown.kube.errors`, takes dicts or dataclasses of
    `gastown.api`, and returns dicts (`gastown.api.codec.from_dict` makes dataclasses of them).
    """

    def __init__(
        self, configuration: Configuration, *, user_agent: str, deadline_seconds: float = 30.0, policy: RetryPolicy = DEFAULT_POLICY
    ) -> None:
        raise NotImplementedError

    def __enter__(self) -> Client:
        raise NotImplementedError

    def __exit__(self, *exc: object) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Close the connection; the next call opens a new one."""
        raise NotImplementedError

    def get(self, kind: Kind, namespace: str, name: str) -> Json:
        """Read one object."""
        raise NotImplementedError

    def list_all(self, kind: Kind, namespace: str | None = None, *, label_selector: str = "", field_selector: str = "") -> list[Json]:
        """Read all objects, page by page, as of one moment."""
        raise NotImplementedError

    def create(self, kind: Kind, value: Any, *, namespace: str = "", subresource: str = "", name: str = "") -> Json:
        """Create an object; with `subresource` and `name` post to one, such as token of a ServiceAccount."""
        raise NotImplementedError

    def merge_patch(self, kind: Kind, namespace: str, name: str, patch: Mapping[str, Any], *, subresource: str = "") -> Json:
        """JSON merge patch; put metadata.resourceVersion into it to make it conditional (then a loser gets Conflict)."""
        raise NotImplementedError

    def json_patch(self, kind: Kind, namespace: str, name: str, patch: Sequence[Mapping[str, Any]], *, subresource: str = "") -> Json:
        """JSON patch; a `test` that does not hold raises Invalid. Not repeated when the first attempt may have happened."""
        raise NotImplementedError

    def apply(self, kind: Kind, value: Any, *, manager: str, subresource: str = "", force: bool = True) -> Json:
        """Server-side apply of exactly the fields in `value`."""
        raise NotImplementedError

    def delete(
        self, kind: Kind, namespace: str, name: str, *, uid: str = "", resource_version: str = "", grace_seconds: int | None = None
    ) -> None:
        """Delete one object, dependants in the background; Conflict if it is not the one with that uid or version."""
        raise NotImplementedError

    def request(self, method: str, path: str, body: Any = None, *, content_type: str = "application/json") -> Json:
        """Anything else, such as SelfSubjectReview: a path with its query, a JSON body, the JSON answer."""
        raise NotImplementedError
