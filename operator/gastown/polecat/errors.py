"""What can keep a session from its end: one form for the log, the termination message and the CLI."""

from __future__ import annotations


class SessionError(Exception):
    """Something a person or agent has to know: what happened, to which object, what to do next.

    Attributes:
        about: The object, such as "bead gp-a3f8".
        happened: What happened to it.
        remedy: What to do next; may be "".
        reason: CamelCase word for machines; becomes the `reason` of the termination message.
    """

    def __init__(self, about: str, happened: str, *, remedy: str = "", reason: str) -> None:
        super().__init__(about, happened, remedy, reason)
        self.about = about
        self.happened = happened
        self.remedy = remedy
        self.reason = reason

    def __str__(self) -> str:
        text = f"{self.about}: {self.happened}"
        return f"{text}; {self.remedy}" if self.remedy else text


class Refused(SessionError):
    """Asked for something that must not be: nothing was changed, and trying again without a change is no use."""


class Unreachable(SessionError):
    """A server did not answer in time: what was asked for may be repeated as it is."""


class Interrupted(SessionError):
    """The session was told to stop while something was under way; that something was ended."""
