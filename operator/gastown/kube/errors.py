"""What the API server may answer but success: one tree, translated here once, used by both clients.

ApiError
  Unauthorized        401  the token is not, or no longer, good
  Forbidden           403  RBAC or an admission policy says no
  NotFound            404
  Conflict            409  the object changed since it was read
  AlreadyExists       409  on create
  Gone                410  that resourceVersion is compacted: list again
  Invalid        400, 422  the object itself, or the `test` of a JSON patch, was refused
    TooLarge     413, 500  the object, as it would then be, does not fit into the server's store
  TooManyRequests     429  the server asks to wait
  Unavailable      0, 5xx  not reached, cut off, too slow, or broken
"""

from __future__ import annotations

import json
from enum import Enum
from typing import Any, ClassVar

MESSAGE_LIMIT = 1000


class Advice(Enum):
    """What the caller should do about an error."""

    LOOK_AGAIN = "look again"
    WAIT = "wait"
    GIVE_UP = "give up"


class ApiError(Exception):
    """A request that did not succeed.

    Attributes:
        status: HTTP status; 0 when no answer came.
        reason: Of the Status object, such as AlreadyExists; may be "".
        message: The server's own words, or what happened to the connection.
        verb: get, list, watch, create, patch, apply or delete.
        path: Of the URL.
        advice: Class attribute: look again, wait and retry, or give up until something changes.
    """

    advice: ClassVar[Advice] = Advice.GIVE_UP

    def __init__(self, status: int, reason: str, message: str, verb: str, path: str) -> None:
        super().__init__(status, reason, message, verb, path)
        self.status = status
        self.reason = reason
        self.message = message
        self.verb = verb
        self.path = path

    def __str__(self) -> str:
        answer = f"{self.status} {self.reason}".strip() if self.status else self.reason
        return f"{self.verb} {self.path}: {answer}: {self.message} ({self.advice.value})"


class Unauthorized(ApiError):
    """The token is not, or no longer, good. The clients read it again once before they raise this."""


class Forbidden(ApiError):
    """RBAC or an admission policy says no; the message names which."""


class NotFound(ApiError):
    """No such object, or no such kind."""

    advice = Advice.LOOK_AGAIN


class Conflict(ApiError):
    """The object changed since it was read; nothing was written."""

    advice = Advice.LOOK_AGAIN


class AlreadyExists(ApiError):
    """An object of that name is there; nothing was written."""

    advice = Advice.LOOK_AGAIN


class Gone(ApiError):
    """The resourceVersion is older than what the server keeps: list again."""

    advice = Advice.LOOK_AGAIN


class Invalid(ApiError):
    """The object was refused, or the `test` of a JSON patch did not hold; nothing was written."""


class TooLarge(Invalid):
    """The object does not fit into the store, with what was to be added; nothing was written, and no retry heals it."""


class TooManyRequests(ApiError):
    """The server asks to wait; nothing was written.

    Attributes:
        retry_after_seconds: As asked for by the server; 1 if it did not say.
    """

    advice = Advice.WAIT

    def __init__(self, message: str, verb: str, path: str, retry_after_seconds: float) -> None:
        super().__init__(429, "TooManyRequests", message, verb, path)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(ApiError):
    """No answer, or a 5xx.

    Attributes:
        may_have_happened: False only when the request certainly never reached the server. If True, read before writing again.
    """

    advice = Advice.WAIT

    def __init__(self, status: int, reason: str, message: str, verb: str, path: str, *, may_have_happened: bool) -> None:
        super().__init__(status, reason, message, verb, path)
        self.may_have_happened = may_have_happened


# etcd's words, which the API server passes on as an error of its own: for more than etcd takes, and for more than its client sends.
_TOO_LARGE = ("request is too large", "trying to send message larger than max")


class Silent(Unavailable):
    """A watch on which not even a bookmark came: its connection is dead, or it waits for a version that the server does not have.

    The latter after the server was restored from a backup: it tells nothing before it has caught up.
    """


_BY_STATUS: dict[int, type[ApiError]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
}


def error_from_answer(status: int, body: bytes, verb: str, path: str, retry_after: str | None = None) -> ApiError:
    """The error for an HTTP answer of 400 and above.

    Args:
        body: A Status object as JSON, or whatever a proxy on the way sent.
        retry_after: The header of that name, if any.
    """
    answer = _status_object(body)
    return error_from_status(answer, verb, path, http_status=status, retry_after=retry_after)


def error_from_status(
    answer: dict[str, Any], verb: str, path: str, *, http_status: int | None = None, retry_after: str | None = None
) -> ApiError:
    """The error for a Status object, as it also comes inside a watch stream (`{"type": "ERROR", "object": ...}`)."""
    status = http_status if http_status is not None else int(answer.get("code") or 500)
    reason = str(answer.get("reason") or "")
    message = str(answer.get("message") or "no message")[:MESSAGE_LIMIT]
    if status == 429:
        return TooManyRequests(message, verb, path, _seconds(retry_after, answer))
    if status == 413 or (status == 500 and any(words in message for words in _TOO_LARGE)):
        return TooLarge(status, reason, f"{message}: objects hold 1.5 MiB; make it smaller", verb, path)
    if status >= 500:
        return Unavailable(status, reason, message, verb, path, may_have_happened=True)
    if status == 409 and reason == "AlreadyExists":
        return AlreadyExists(status, reason, message, verb, path)
    return _BY_STATUS.get(status, ApiError)(status, reason, message, verb, path)


def _status_object(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if isinstance(answer, dict):
        return answer
    return {"message": body[:MESSAGE_LIMIT].decode("utf-8", "replace").strip()}


def _seconds(retry_after: str | None, answer: dict[str, Any]) -> float:
    details = answer.get("details")
    told = retry_after or (details.get("retryAfterSeconds") if isinstance(details, dict) else None)
    try:
        return max(0.0, float(told or 1))
    except (TypeError, ValueError):  # a date, which API servers do not send
        return 1.0
