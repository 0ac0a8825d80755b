"""The head of a push, byte by byte, and the answer to a refused one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gastown_git.ref_names import ZERO
from gastown_git.server.access import RefUpdate
from gastown_git.server.receive_pack import MAX_COMMAND_BYTES, MalformedPush, PushHead, packet, parse_push, refuse

ONE, TWO = "12" * 20, "34" * 20
SIDE_BAND = frozenset({"report-status", "side-band-64k"})


def command(old: str, new: str, ref: str, capabilities: str = "") -> bytes:
    tail = f"\0{capabilities}" if capabilities else ""
    return packet(f"{old} {new} {ref}{tail}".encode())


PUSH = command(ONE, TWO, "refs/heads/a", " report-status side-band-64k agent=git/2.39") + command(TWO, ZERO, "refs/heads/b") + b"0000"


def test_commands_and_capabilities_are_read_and_the_pack_is_left_alone() -> None:
    head = parse_push(PUSH + b"PACK....")
    assert head == PushHead(
        (RefUpdate(ONE, TWO, "refs/heads/a"), RefUpdate(TWO, ZERO, "refs/heads/b")),
        frozenset({"report-status", "side-band-64k", "agent=git/2.39"}),
        len(PUSH),
    )
    assert head.updates[1].is_deletion
    assert not head.updates[0].is_creation


@given(st.integers(min_value=0, max_value=len(PUSH) - 1))
def test_law_a_beginning_asks_for_more(length: int) -> None:
    assert parse_push(PUSH[:length]) is None


def test_the_probe_before_a_large_push_has_no_commands() -> None:
    assert parse_push(b"0000") == PushHead((), frozenset(), 4)


def test_shallow_lines_are_passed_over() -> None:
    head = parse_push(packet(f"shallow {ONE}".encode()) + PUSH)
    assert head is not None
    assert [update.ref for update in head.updates] == ["refs/heads/a", "refs/heads/b"]
    assert "report-status" in head.capabilities


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"GET / HTTP/1.1\r\n", id="no pkt-line"),
        pytest.param(b"0001", id="delimiter"),
        pytest.param(b"0004", id="empty line"),
        pytest.param(b" 4a1", id="a length with a blank"),
        pytest.param(b"+0a1", id="a length with a sign"),
        pytest.param(b"0_a1", id="a length with an underscore"),
        pytest.param(packet(b"hello") + b"0000", id="no command"),
        pytest.param(packet(f"{ONE} {TWO} heads/x".encode()), id="a ref outside refs"),
        pytest.param(packet(f"{ONE[:39]} {TWO} refs/heads/x".encode()), id="a short id"),
        pytest.param(packet(f"{ONE.upper().replace('1', 'A')} {TWO} refs/heads/x".encode()), id="an id in capitals"),
        pytest.param(packet(b"push-cert\0push-cert report-status"), id="a signed push"),
        pytest.param(command(ONE, TWO, "refs/heads/" + "x" * 60000) * 20, id="an endless list"),
    ],
)
def test_what_is_no_push_is_refused(content: bytes) -> None:
    with pytest.raises(MalformedPush):
        parse_push(content)


@given(st.binary(max_size=300))
def test_law_any_bytes_give_a_head_a_wish_for_more_or_a_refusal(content: bytes) -> None:
    try:
        head = parse_push(content)
    except MalformedPush:
        return
    assert head is None or head.size <= len(content)


def test_a_list_that_never_ends_does_not_fill_the_memory() -> None:
    line = command(ONE, TWO, "refs/heads/x")
    with pytest.raises(MalformedPush, match="push fewer refs"):
        parse_push(line * (MAX_COMMAND_BYTES // len(line) + 2))


def test_a_refusal_names_each_ref_in_gits_own_report() -> None:
    answer = refuse([("refs/heads/a", "no\nway"), ("refs/heads/b", "neither")], SIDE_BAND)
    report = packet(b"unpack ok\n") + packet(b"ng refs/heads/a no way\n") + packet(b"ng refs/heads/b neither\n") + b"0000"
    assert answer == packet(b"\x01" + report) + b"0000"


def test_a_client_without_side_bands_gets_the_bare_report() -> None:
    assert (
        refuse([("refs/heads/a", "no")], frozenset({"report-status"})) == packet(b"unpack ok\n") + packet(b"ng refs/heads/a no\n") + b"0000"
    )


def test_a_client_without_reports_gets_a_message() -> None:
    assert refuse([("refs/heads/a", "no")], frozenset({"side-band-64k"})) == packet(b"\x02refs/heads/a: no\n") + b"0000"


def test_a_long_report_is_split_into_packets_that_git_accepts() -> None:
    answer = refuse([(f"refs/heads/{number}", "x" * 900) for number in range(200)], SIDE_BAND)
    position, packets = 0, 0
    while (length := int(answer[position : position + 4], 16)) != 0:
        assert length <= 65520
        position, packets = position + length, packets + 1
    assert packets > 1
    assert position + 4 == len(answer)
