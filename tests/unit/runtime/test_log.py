"""Log lines: an event and its fields."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator
from typing import Literal

import pytest

from gastown.runtime import log

logger = logging.getLogger("gastown.test")


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def line_of(form: Literal["json", "text"], **fields: object) -> str:
    stream = io.StringIO()
    log.set_up("INFO", form, stream)
    log.say(logger, logging.INFO, "pod_created", **fields)  # type: ignore[arg-type]
    return stream.getvalue()


def test_a_text_line_holds_event_and_fields_and_quotes_what_needs_it() -> None:
    line = line_of("text", name="toast", reason='the "hook" is set', empty="", nothing=None)
    assert re.fullmatch(
        r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info    gastown\.test pod_created name=toast reason="the \\"hook\\" is set"\n', line
    )


def test_a_text_line_stays_one_line() -> None:
    assert line_of("text", message="two\nlines").count("\n") == 1


def test_a_json_line_is_an_object() -> None:
    told = json.loads(line_of("json", name="toast", number=3))
    assert (told["event"], told["name"], told["number"], told["level"]) == ("pod_created", "toast", 3, "info")


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("words", ["\x1b[2J", "\x9b31m", "a\u2028b\x85c", "\u202eexe", "\ud800", "\U000e0041", "\r\n"], ids=ascii)
def test_nothing_that_strangers_write_acts_on_a_terminal_or_breaks_the_line(form: Literal["json", "text"], words: str) -> None:
    line = line_of(form, title=words, name=f"x {words} y")
    line.encode()
    assert len(line.splitlines()) == 1
    assert line[:-1].isprintable()
    if form == "json":
        assert json.loads(line)["title"] == words


def test_the_message_of_a_foreign_logger_is_no_exception() -> None:
    for form in ("json", "text"):
        stream = io.StringIO()
        log.set_up("INFO", form, stream)
        logging.getLogger("foreign").warning("GET /\x1b[2J %s", "a\nb\x85")
        assert len(stream.getvalue().splitlines()) == 1
        assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_failure_keeps_its_traceback_on_the_line(form: Literal["json", "text"]) -> None:
    line = line_of(form, exc_info=ValueError("bad"))
    assert "ValueError: bad" in line
    assert line.count("\n") == 1


def test_what_is_below_the_level_costs_nothing() -> None:
    class Expensive:
        def __str__(self) -> str:
            raise AssertionError("formatted")

    log.set_up("WARNING", "text", io.StringIO())
    log.say(logger, logging.INFO, "pod_created", value=Expensive())
