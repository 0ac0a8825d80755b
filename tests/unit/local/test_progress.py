from __future__ import annotations

import io

import pytest

from gastown.local import progress
from gastown.local.progress import LiveLine
from support.eventually import eventually


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_in_a_log_each_step_is_a_line_of_its_own() -> None:
    stream = io.StringIO()
    with LiveLine("building etcd", stream):
        pass
    assert stream.getvalue() == "building etcd: ...\nbuilding etcd: done 0 s\n"


def test_on_a_terminal_the_line_is_rewritten_in_place() -> None:
    stream = Terminal()
    with LiveLine("building etcd", stream):
        pass
    assert stream.getvalue() == "\r\x1b[Kbuilding etcd: ...\r\x1b[Kbuilding etcd: done 0 s\n"


def test_the_elapsed_time_is_told_while_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_PLAIN_SECONDS", 0.01)
    stream = io.StringIO()
    with LiveLine("building etcd", stream):
        eventually(lambda: "1 s" in stream.getvalue())
    assert stream.getvalue().endswith("done 1 s\n")


def test_a_failure_is_not_called_done() -> None:
    stream = io.StringIO()
    with pytest.raises(OSError, match="no disk"), LiveLine("building etcd", stream):
        raise OSError("no disk")
    assert stream.getvalue().endswith("building etcd: failed 0 s\n")
