"""Asynchronous client of the API server, for daemons: typed answers by msgspec, streaming watches."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gastown.api.kinds import Kind
from gastown.kube.configuration import Configuration
from gastown.kube.retry import DEFAULT_POLICY, RetryPolicy


@dataclass(frozen=True, slots=True)
class Undecodable:
    """An object that does not fit its dataclass: it is left out, told and counted, and the rest goes on."""

    namespace: str
    name: str
    problem: str


@dataclass(frozen=True, slots=True)
class Listing:
    """A complete LIST.

    Attributes:
        items: Objects of the kind's type, or dicts.
        resource_version: A watch from here misses nothing.
    """

    items: list[Any]
    resource_version: str
    undecodable: list[Undecodable]


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One event of a watch.

    Attributes:
        type: BOOKMARK only tells how far the stream has come.
        object: Of the kind's type, or a dict; None for a BOOKMARK and for what could not be decoded.
        resource_version: Where to go on after this event.
    """

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    object: Any
    resource_version: str
    undecodable: Undecodable | None = None


class Client:
    """One identity at one API server; use it as an async context manager.

    Every verb has a deadline over all its attempts and raises the errors of `gastown.kube.errors`. Objects go out as dicts or as
    dataclasses of `gastown.api` and come back as `kind.type` (as dicts with `raw=True`).

    Args:
        configuration: Where and who.
        user_agent: Shown in the audit log.
        connections: For everything but watches, which have their own.
        deadline_seconds: Default of each call.
        policy: What is retried.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        user_agent: str,
        connections: int = 8,
        deadline_seconds: float = 30.0,
        policy: RetryPolicy = DEFAULT_POLICY,
    ) -> None:
        raise NotImplementedError

    async def __aenter__(self) -> Client:
        raise NotImplementedError

    async def __aexit__(self, *exc: object) -> None:
        raise NotImplementedError

    async def get(self, kind: Kind, namespace: str, name: str, *, raw: bool = False) -> Any:
        """Read one object."""
        raise NotImplementedError

    async def list_all(
        self, kind: Kind, namespace: str | None = None, *, label_selector: str = "", field_selector: str = "", raw: bool = False
    ) -> Listing:
        """Read all objects, page by page, as of one moment."""
        raise NotImplementedError

    async def create(self, kind: Kind, value: Any, *, namespace: str = "", subresource: str = "", name: str = "", raw: bool = False) -> Any:
        """Create an object; with `subresource` and `name` post to one, such as token of a ServiceAccount."""
        raise NotImplementedError

    async def merge_patch(
        self, kind: Kind, namespace: str, name: str, patch: Mapping[str, Any], *, subresource: str = "", raw: bool = False
    ) -> Any:
        """JSON merge patch; put metadata.resourceVersion into it to make it conditional (then a loser gets Conflict)."""
        raise NotImplementedError

    async def json_patch(
        self, kind: Kind, namespace: str, name: str, patch: Sequence[Mapping[str, Any]], *, subresource: str = "", raw: bool = False
    ) -> Any:
        """JSON patch; a `test` that does not hold raises Invalid. Not repeated when the first attempt may have happened."""
        raise NotImplementedError

    async def apply(self, kind: Kind, value: Any, *, manager: str, subresource: str = "", force: bool = True, raw: bool = False) -> Any:
        """Server-side apply of exactly the fields in `value`."""
        raise NotImplementedError

    async def delete(
        self, kind: Kind, namespace: str, name: str, *, uid: str = "", resource_version: str = "", grace_seconds: int | None = None
    ) -> None:
        """Delete one object, dependants in the background; Conflict if it is not the one with that uid or version."""
        raise NotImplementedError

    def watch(
        self,
        kind: Kind,
        namespace: str | None,
        resource_version: str,
        *,
        label_selector: str = "",
        field_selector: str = "",
        timeout_seconds: float = 600.0,
        silence_seconds: float = 90.0,
        raw: bool = False,
    ) -> AsyncGenerator[WatchEvent, None]:
        """Events after `resource_version`, until the server ends the stream."""
        raise NotImplementedError
