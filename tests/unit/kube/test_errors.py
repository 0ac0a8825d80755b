"""Answers become errors that say what to do."""

from __future__ import annotations

import json

import pytest

from gastown.kube import errors
from gastown.kube.errors import Advice, ApiError, error_from_answer


def body(code: int, reason: str, **more: object) -> bytes:
    return json.dumps({"kind": "Status", "code": code, "reason": reason, "message": "told", **more}).encode()


@pytest.mark.parametrize(
    ("status", "reason", "expected", "advice"),
    [
        (400, "BadRequest", errors.Invalid, Advice.GIVE_UP),
        (401, "Unauthorized", errors.Unauthorized, Advice.GIVE_UP),
        (403, "Forbidden", errors.Forbidden, Advice.GIVE_UP),
        (404, "NotFound", errors.NotFound, Advice.LOOK_AGAIN),
        (405, "MethodNotAllowed", ApiError, Advice.GIVE_UP),
        (409, "AlreadyExists", errors.AlreadyExists, Advice.LOOK_AGAIN),
        (409, "Conflict", errors.Conflict, Advice.LOOK_AGAIN),
        (410, "Expired", errors.Gone, Advice.LOOK_AGAIN),
        (422, "Invalid", errors.Invalid, Advice.GIVE_UP),
        (429, "TooManyRequests", errors.TooManyRequests, Advice.WAIT),
        (500, "InternalError", errors.Unavailable, Advice.WAIT),
        (504, "Timeout", errors.Unavailable, Advice.WAIT),
    ],
)
def test_each_status_has_its_class_and_advice(status: int, reason: str, expected: type[ApiError], advice: Advice) -> None:
    error = error_from_answer(status, body(status, reason), "patch", "/apis/x/beads/gp-1")
    assert type(error) is expected
    assert error.advice is advice


@pytest.mark.parametrize(
    ("status", "words"),
    [(413, "limit is 3145728"), (500, "etcdserver: request is too large"), (500, "trying to send message larger than max (3 vs. 2 bytes)")],
)
def test_what_the_store_can_not_hold_is_given_up_and_not_waited_for(status: int, words: str) -> None:
    told = json.dumps({"kind": "Status", "code": status, "reason": "", "message": words}).encode()
    error = error_from_answer(status, told, "patch", "/apis/x/beads/gp-1/status")
    assert type(error) is errors.TooLarge
    assert error.advice is Advice.GIVE_UP
    assert error.message == f"{words}: objects hold 1.5 MiB; make it smaller"


def test_the_message_names_verb_object_answer_and_what_to_do() -> None:
    error = error_from_answer(409, body(409, "Conflict"), "patch", "/apis/x/beads/gp-1")
    assert str(error) == "patch /apis/x/beads/gp-1: 409 Conflict: told (look again)"


@pytest.mark.parametrize(
    ("header", "details", "expected"),
    [
        pytest.param("7", {}, 7.0, id="from the header"),
        pytest.param(None, {"retryAfterSeconds": 3}, 3.0, id="from the body"),
        pytest.param(None, {}, 1.0, id="not told"),
        pytest.param("Sat, 21 Nov 2026 12:00:00 GMT", {}, 1.0, id="a date"),
        pytest.param("-5", {}, 0.0, id="negative"),
    ],
)
def test_how_long_the_server_asks_to_wait(header: str | None, details: dict[str, int], expected: float) -> None:
    error = error_from_answer(429, body(429, "TooManyRequests", details=details), "create", "/x", header)
    assert isinstance(error, errors.TooManyRequests)
    assert error.retry_after_seconds == expected


@pytest.mark.parametrize("raw", [b"", b"<html>bad gateway</html>", b"[1]", b"\xff\xfe", b"{"])
def test_what_a_proxy_says_instead_of_a_status_object_is_shown(raw: bytes) -> None:
    error = error_from_answer(502, raw, "get", "/x")
    assert isinstance(error, errors.Unavailable)
    assert error.message == (raw.decode("utf-8", "replace") or "no message")


def test_a_message_is_cut_to_a_readable_length() -> None:
    error = error_from_answer(422, json.dumps({"message": "x" * 9999}).encode(), "create", "/x")
    assert len(error.message) == errors.MESSAGE_LIMIT
