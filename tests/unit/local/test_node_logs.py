"""From what a container writes to what kubectl shows, without a container."""

from __future__ import annotations

import asyncio
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gastown.local.node import log_writer
from gastown.local.node.log_reader import log_files, parse_entry, read_entries, render, tail_offset
from gastown.local.node.log_stream import LogOptions, parse_options, stream_log
from gastown.local.node.log_writer import LogWriter
from gastown.local.node.run_files import RunExit
from gastown.local.node.termination import termination_message

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def write(directory: Path, *pieces: bytes) -> None:
    """Have pieces written as a container would, one read each."""
    with LogWriter(str(directory / "log")) as log:
        for piece in pieces:
            source = os.memfd_create("piece")
            os.write(source, piece)
            os.lseek(source, 0, os.SEEK_SET)
            while log.copy(source, "stdout"):
                pass
            os.close(source)


def read(directory: Path, **options: object) -> bytes:
    """What a client gets of a container that has ended."""

    async def _collect() -> bytes:
        return b"".join([data async for data in stream_log(directory, LogOptions(**options), lambda: False)])  # type: ignore[arg-type]

    return asyncio.run(_collect())


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=20))
def test_every_byte_comes_back_in_order_however_it_was_cut(pieces: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), *pieces)
        assert read(Path(name)) == b"".join(pieces)


@given(st.lists(st.integers(0, 40_000), min_size=1, max_size=6), st.integers(0, 8))
def test_the_tail_is_the_last_lines_whatever_their_length(lengths: list[int], wanted: int) -> None:
    lines = [b"%d" % (number % 10) * length + b"\n" for number, length in enumerate(lengths)]
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), b"".join(lines))
        assert read(Path(name), tail_lines=wanted) == b"".join(lines[max(0, len(lines) - wanted) :])


def test_a_line_longer_than_the_limit_is_kept_in_pieces_and_shown_whole(tmp_path: Path) -> None:
    write(tmp_path, b"x" * 40_000 + b"\nnext\n")
    assert [each.is_full for each in read_entries(tmp_path / "log")] == [False, False, True, True]
    assert read(tmp_path) == b"x" * 40_000 + b"\nnext\n"


def test_rotation_keeps_one_older_file_and_reading_goes_over_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_writer, "ROTATE_BYTES", 1000)
    lines = [b"line %03d\n" % number for number in range(200)]
    write(tmp_path, *lines)
    assert [path.name for path in log_files(tmp_path)] == ["log.1", "log"]
    shown = read(tmp_path)
    assert b"".join(lines).endswith(shown)
    assert shown.count(b"\n") >= 20
    assert read(tmp_path, tail_lines=25) == b"".join(lines[-25:])


def test_a_damaged_line_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path, b"good\n")
    with (tmp_path / "log").open("ab") as file:
        file.write(b"cut off in the mid")
    assert [each.text for each in read_entries(tmp_path / "log")] == [b"good"]
    assert parse_entry(b"no entry at all") is None


def test_stamps_are_shown_only_if_asked_for(tmp_path: Path) -> None:
    write(tmp_path, b"hello\n")
    entry = next(read_entries(tmp_path / "log"))
    assert render(entry, timestamps=False) == b"hello\n"
    assert render(entry, timestamps=True) == entry.stamp.encode() + b" hello\n"
    assert datetime.fromisoformat(entry.stamp[:26]).year >= 2024


def test_entries_before_the_asked_for_time_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"2026-11-21T11:59:00.000000000Z stdout F old\n2026-11-21T11:59:30.000000001Z stdout F new\n")
    assert read(tmp_path, since=parse_options({"sinceSeconds": "30"}, NOON).since) == b"new\n"
    assert read(tmp_path, since=parse_options({"sinceTime": "2026-11-21T11:59:30Z"}, NOON).since) == b"new\n"


def test_options_are_read_from_the_query() -> None:
    options = parse_options({"follow": "true", "tailLines": "5", "limitBytes": "7", "timestamps": "true", "previous": "true"}, NOON)
    assert options == LogOptions(follow=True, previous=True, timestamps=True, tail_lines=5, limit_bytes=7)
    with pytest.raises(ValueError, match="invalid literal"):
        parse_options({"tailLines": "many"}, NOON)


def test_a_tail_of_nothing_is_nothing(tmp_path: Path) -> None:
    write(tmp_path, b"a\nb\n")
    assert tail_offset(tmp_path / "log", 0) == ((tmp_path / "log").stat().st_size, 0)
    assert read(tmp_path, tail_lines=0) == b""


def test_a_follower_gets_what_is_written_later(tmp_path: Path) -> None:
    async def _follow() -> bytes:
        ended = asyncio.Event()
        got = b""
        async for data in stream_log(tmp_path, LogOptions(follow=True), lambda: not ended.is_set()):
            got += data
            if got == b"one\n":
                write(tmp_path, b"two\n")
                ended.set()
        return got

    write(tmp_path, b"one\n")
    assert asyncio.run(asyncio.wait_for(_follow(), 10)) == b"one\ntwo\n"


def test_the_message_file_wins_over_the_log(tmp_path: Path) -> None:
    write(tmp_path, b"from the log\n")
    failed = RunExit(1, 0.0, 1.0)
    policy = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    assert termination_message(policy, tmp_path, failed) == "from the log\n"
    assert termination_message({}, tmp_path, failed) == ""
    assert termination_message(policy, tmp_path, RunExit(0, 0.0, 1.0)) == ""
    (tmp_path / "termination-log").write_text("from the file")
    assert termination_message(policy, tmp_path, failed) == "from the file"


@given(st.binary(max_size=9000))
def test_a_message_is_always_text_that_fits_a_status(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "termination-log").write_bytes(data)
        message = termination_message({}, Path(name), RunExit(0, 0.0, 1.0))
    assert len(message.encode()) <= 4096
    assert "\0" not in message
