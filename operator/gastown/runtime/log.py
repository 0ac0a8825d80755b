"""Structured logs through stdlib logging: a fixed event name plus fields, one line each, as key=value or JSON.

What strangers wrote may stand in a field: nothing of it acts on the terminal of whoever reads the log, nor breaks a line in two.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any, Literal, TextIO

from gastown.api.text import escaped, json_text

# What every LogRecord carries in this attribute when it was written by `say`.
FIELDS = "fields"


def say(logger: logging.Logger, level: int, event: str, /, *, exc_info: BaseException | None = None, **fields: Any) -> None:
    """Log one event.

    Args:
        event: Fixed snake_case name, such as pod_created; what varies goes into fields.
        exc_info: Its traceback is added.
        fields: kind, namespace, name, reason, ...; empty ones are left out.
    """
    if logger.isEnabledFor(level):
        told = {name: value for name, value in fields.items() if value not in (None, "")}
        logger.log(level, event, exc_info=exc_info, extra={FIELDS: told})


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line = {"time": _utc(record.created), "level": record.levelname.lower(), "logger": record.name, "event": record.getMessage()}
        return json_text(json.dumps({**line, **_fields(self, record)}, default=str, ensure_ascii=False))


class KeyValueFormatter(logging.Formatter):
    """One line of key=value pairs; values with blanks are quoted as in JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        pairs = " ".join(f"{name}={_quoted(value)}" for name, value in _fields(self, record).items())
        return escaped(f"{_utc(record.created)} {record.levelname.lower():7} {record.name} {record.getMessage()} {pairs}".rstrip())


def set_up(level: str = "INFO", form: Literal["json", "text"] = "text", stream: TextIO | None = None) -> None:
    """Send all logs of the process to one stream.

    Args:
        level: Of everything.
        form: json for collectors, text for people.
        stream: Default is standard error.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else KeyValueFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def _fields(formatter: logging.Formatter, record: logging.LogRecord) -> dict[str, Any]:
    fields = dict(getattr(record, FIELDS, {}))
    if record.exc_info:
        fields["traceback"] = formatter.formatException(record.exc_info)
    return fields


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1000):03d}Z"


def _quoted(value: Any) -> str:
    text = str(value)
    plain = text and not any(character in ' "=\\' or not character.isprintable() for character in text)
    return text if plain else json.dumps(text, ensure_ascii=False)
