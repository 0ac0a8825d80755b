"""Blocking client of the API server, standard library only: for CLIs and the harness, where an import costs more than a call."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gastown.api.codec import to_dict
from gastown.api.kinds import Kind
from gastown.kube import paths
from gastown.kube.configuration import Configuration
from gastown.kube.errors import ApiError, Gone, Unauthorized, Unavailable, error_from_answer
from gastown.kube.http import Connection, TransportError
from gastown.kube.options import delete_options
from gastown.kube.retry import DEFAULT_POLICY, RetryPolicy

Json = dict[str, Any]
PAGE = 500


class Client:
    """One identity at one API server over one keep-alive connection; not for use by several threads at once.

    Every verb has a deadline over all its attempts, raises the errors of `gastown.kube.errors`, takes dicts or dataclasses of
    `gastown.api`, and returns dicts (`gastown.api.codec.from_dict` makes dataclasses of them).

    Args:
        configuration: Where and who.
        user_agent: Shown in the audit log.
        deadline_seconds: Of each call.
        policy: What is retried.
        sleep: Waits between attempts.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        user_agent: str,
        deadline_seconds: float = 30.0,
        policy: RetryPolicy = DEFAULT_POLICY,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.configuration = configuration
        self._connection = Connection(configuration.server, configuration.ssl_context())
        self._user_agent = user_agent
        self._deadline_seconds = deadline_seconds
        self._policy = policy
        self._sleep = sleep

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next call opens a new one."""
        self._connection.close()

    def get(self, kind: Kind, namespace: str, name: str) -> Json:
        """Read one object."""
        return self._call("get", "GET", paths.item(kind, namespace, name))

    def list_all(self, kind: Kind, namespace: str | None = None, *, label_selector: str = "", field_selector: str = "") -> list[Json]:
        """Read all objects, page by page, as of one moment; in one namespace, or (None) in all."""
        root = paths.collection(kind, namespace)
        selectors = {"labelSelector": label_selector, "fieldSelector": field_selector}
        items: list[Json] = []
        token = ""
        while True:
            try:
                page = self._call("list", "GET", paths.with_query(root, limit=PAGE, **selectors, **{"continue": token}))
            except Gone:  # the list took longer than the server keeps its moment: all at once then
                return list(self._call("list", "GET", paths.with_query(root, **selectors))["items"])
            items += page["items"]
            token = page["metadata"].get("continue", "")
            if not token:
                return items

    def create(self, kind: Kind, value: Any, *, namespace: str = "", subresource: str = "", name: str = "") -> Json:
        """Create an object.

        Args:
            namespace: Default is the object's own.
            subresource, name: Post to a subresource of an object instead, such as token of a ServiceAccount.
        """
        body = to_dict(value)
        where = namespace or body.get("metadata", {}).get("namespace", "")
        path = paths.item(kind, where, name, subresource) if subresource else paths.collection(kind, where)
        return self._call("create", "POST", path, body)

    def merge_patch(self, kind: Kind, namespace: str, name: str, patch: Mapping[str, Any], *, subresource: str = "") -> Json:
        """JSON merge patch; put metadata.resourceVersion into it to make it conditional (then a loser gets Conflict)."""
        return self._call("patch", "PATCH", paths.item(kind, namespace, name, subresource), patch, paths.MERGE_PATCH)

    def json_patch(self, kind: Kind, namespace: str, name: str, patch: Sequence[Mapping[str, Any]], *, subresource: str = "") -> Json:
        """JSON patch; a `test` that does not hold raises Invalid. Not repeated when the first attempt may have happened."""
        return self._call("patch", "PATCH", paths.item(kind, namespace, name, subresource), patch, paths.JSON_PATCH)

    def apply(self, kind: Kind, value: Any, *, manager: str, subresource: str = "", force: bool = True) -> Json:
        """Server-side apply of exactly the fields in `value`."""
        body = {"apiVersion": kind.api_version, "kind": kind.name, **to_dict(value)}
        path = paths.item(kind, body["metadata"].get("namespace", ""), body["metadata"]["name"], subresource)
        return self._call("apply", "PATCH", paths.with_query(path, fieldManager=manager, force=force), body, paths.APPLY_PATCH)

    def delete(
        self, kind: Kind, namespace: str, name: str, *, uid: str = "", resource_version: str = "", grace_seconds: int | None = None
    ) -> None:
        """Delete one object, dependants in the background; Conflict if it is not the one with that uid or version."""
        self._call("delete", "DELETE", paths.item(kind, namespace, name), delete_options(uid, resource_version, grace_seconds))

    def request(self, method: str, path: str, body: Any = None, *, content_type: str = paths.JSON) -> Json:
        """Anything else, such as SelfSubjectReview: a path with its query, a JSON body, the JSON answer."""
        return self._call(method.lower(), method, path, body, content_type)

    def _call(self, verb: str, method: str, path: str, body: Any = None, content_type: str = paths.JSON) -> Json:
        payload = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        repeatable = method in ("GET", "DELETE") or content_type in (paths.MERGE_PATCH, paths.APPLY_PATCH)
        deadline = time.monotonic() + self._deadline_seconds
        attempt, renewed = 0, False
        while True:
            attempt += 1
            try:
                return self._once(verb, method, path, payload, content_type, deadline - time.monotonic())
            except Unauthorized:
                # The token may have rotated between reading and use: once more with a fresh look, never in a loop.
                if renewed or self.configuration.token_file is None:
                    raise
                renewed = True
            except ApiError as error:
                left = deadline - time.monotonic()
                wait = self._policy.wait_before_next(error, attempt, left, os.urandom(1)[0] / 256, repeatable=repeatable)
                if wait is None:
                    raise
                self._sleep(wait)

    def _once(self, verb: str, method: str, path: str, payload: bytes | None, content_type: str, left_seconds: float) -> Json:
        headers = {"Accept": paths.JSON, "User-Agent": self._user_agent}
        if payload is not None:
            headers["Content-Type"] = content_type
        if token := self.configuration.bearer_token():
            headers["Authorization"] = f"Bearer {token}"
        try:
            answer = self._connection.request(method, path, headers, payload, left_seconds)
        except TransportError as error:
            raise Unavailable(0, "NoAnswer", str(error), verb, path, may_have_happened=error.was_sent) from error
        if answer.status >= 400:
            raise error_from_answer(answer.status, answer.body, verb, path, answer.headers.get("retry-after"))
        try:
            told = json.loads(answer.body or b"{}")
        except ValueError:
            told = None
        if not isinstance(told, dict):
            message = f"answered {answer.status} with no JSON object: {answer.body[:80]!r}"
            raise Unavailable(answer.status, "NoJson", message, verb, path, may_have_happened=True)
        return told
