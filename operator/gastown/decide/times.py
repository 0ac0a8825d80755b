"""RFC 3339 and Unix seconds: deciders get the clock as a number and objects carry text."""

from __future__ import annotations

from datetime import UTC, datetime


def time_text(now: float) -> str:
    """Unix seconds as RFC 3339 in UTC, whole seconds, as Kubernetes writes times."""
    return datetime.fromtimestamp(int(now), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def unix_seconds(text: str) -> float | None:
    """An RFC 3339 time as Unix seconds; None when it is empty or no time.

    Admission checks what people write; what still is no time counts as not given, so that one odd object never stops a decider.
    """
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def seconds_since(text: str, now: float) -> float | None:
    """How long ago that was; None when it is empty or no time."""
    then = unix_seconds(text)
    return None if then is None else now - then


def is_recent(text: str, seconds: float, now: float) -> bool:
    """Whether that was less than so many seconds ago; no for what is no time.

    What lies ahead by more than that is not recent either: then the clock that wrote it was set back, and "recent" would last for as
    long as it was set back.
    """
    age = seconds_since(text, now)
    return age is not None and abs(age) < seconds
