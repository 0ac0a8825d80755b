"""Errors of the command lines: what happened, to which object, what to do next, and the exit code that tells scripts the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gastown.kube.configuration import ConfigurationError
from gastown.kube.errors import AlreadyExists, ApiError, Conflict, NotFound, TooManyRequests, Unavailable
from gastown.polecat.errors import SessionError, Unreachable

OK = 0
FAILED = 1
USAGE = 2
NOT_FOUND = 3
CONFLICT = 4
UNAVAILABLE = 5
INTERRUPTED = 130

EXIT_CODES = """\
exit codes:
  0  done
  1  refused or failed
  2  wrong usage or configuration
  3  an object was not found
  4  somebody else was faster (conflict); look again
  5  a server did not answer; try again
"""


class CommandError(Exception):
    """Ends a command.

    Attributes:
        about: The object, such as "bead gp-a3f8".
        happened: What happened to it.
        remedy: What to do next; may be "".
        exit_code: See EXIT_CODES.
        reason: CamelCase, for --json.
        details: Shown below, such as the end of a gate's log.
    """

    def __init__(
        self, about: str, happened: str, *, remedy: str = "", exit_code: int = FAILED, reason: str = "Failed", details: str = ""
    ) -> None:
        super().__init__(about, happened, remedy)
        self.about = about
        self.happened = happened
        self.remedy = remedy
        self.exit_code = exit_code
        self.reason = reason
        self.details = details

    def __str__(self) -> str:
        text = f"{self.about}: {self.happened}"
        return f"{text}; {self.remedy}" if self.remedy else text


@contextmanager
def about(name: str, *, remedy: str = "") -> Iterator[None]:
    """Names the object in whatever the API server answers inside.

    Args:
        name: Such as "bead gp-a3f8".
        remedy: What to do when it is not found.
    """
    try:
        yield
    except ApiError as error:
        raise from_api_error(name, error, remedy) from error


def from_api_error(name: str, error: ApiError, remedy: str = "") -> CommandError:
    """The API server's answer in our form."""
    if isinstance(error, NotFound):
        return CommandError(name, "not found", remedy=remedy, exit_code=NOT_FOUND, reason="NotFound")
    if isinstance(error, (Conflict, AlreadyExists)):
        return CommandError(name, error.message, remedy="look at it again", exit_code=CONFLICT, reason=error.reason or "Conflict")
    if isinstance(error, (Unavailable, TooManyRequests)):
        happened = f"the API server did not answer: {error.message}"
        return CommandError(name, happened, remedy="try again", exit_code=UNAVAILABLE, reason="Unavailable")
    return CommandError(name, error.message, exit_code=FAILED, reason=error.reason or "Refused")


def from_session_error(error: SessionError) -> CommandError:
    """An error of the session's code in our form."""
    codes = {"NotFound": NOT_FOUND, "NotAssigned": CONFLICT}
    code = UNAVAILABLE if isinstance(error, Unreachable) else codes.get(error.reason, FAILED)
    details = getattr(error, "log_tail", "")
    return CommandError(error.about, error.happened, remedy=error.remedy, exit_code=code, reason=error.reason, details=details)


def translated(error: Exception) -> CommandError:
    """Any error that a command may raise, in our form.

    Raises:
        Exception: The error itself, if it is none of the known: a bug, whose traceback is wanted.
    """
    if isinstance(error, CommandError):
        return error
    if isinstance(error, ApiError):
        return from_api_error(error.path, error)
    if isinstance(error, SessionError):
        return from_session_error(error)
    if isinstance(error, ConfigurationError):
        return CommandError("configuration", str(error), exit_code=USAGE, reason="Configuration")
    raise error
