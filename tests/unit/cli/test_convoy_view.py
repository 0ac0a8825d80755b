"""A convoy as a table, and as a line per change."""

from __future__ import annotations

from typing import Any

from gastown.api import labels
from gastown.api.bead import Bead, BeadSpec, BeadStatus, Dependency, Rework
from gastown.api.convoy import Convoy, ConvoySpec, ConvoyStatus
from gastown.api.merge_request import MergeRequest, MergeRequestStatus
from gastown.api.meta import Condition, ObjectMeta
from gastown.cli import output
from gastown.cli.convoy_view import HEADINGS, Seen, changes, fitting, heading, rows


def member(name: str, local: str, phase: str, *needs: str, assignee: str = "", **status: Any) -> Bead:
    metadata = ObjectMeta(name=name, labels={labels.CONVOY: "diamond"}, annotations={labels.LOCAL_NAME: local})
    spec = BeadSpec(title=f"Do {local}", assignee=assignee, dependencies=[Dependency(id=need) for need in needs])
    return Bead(metadata=metadata, spec=spec, status=BeadStatus(phase=phase, **status))


def diamond(*beads: Bead, named: list[str] | None = None, requests: dict[str, MergeRequest] | None = None) -> Seen:
    convoy = Convoy(metadata=ObjectMeta(name="diamond"), spec=ConvoySpec(title="A diamond", beads=named or []))
    return Seen(convoy, {bead.metadata.name: bead for bead in beads}, requests or {})


BLOCKED = [Condition(type="Startable", status="False", reason="Blocked")]


def test_members_stand_wave_by_wave_with_agent_and_reason() -> None:
    request = MergeRequest(metadata=ObjectMeta(name="gp-b-1"), status=MergeRequestStatus(phase="Gating", position=1))
    seen = diamond(
        member("gp-d", "bottom", "Blocked", "gp-b", "gp-c", conditions=BLOCKED, blockedBy=["gp-b", "gp-c"]),
        member("gp-b", "left", "Submitted", "gp-a", agentName="greeter-max", mergeRequestName="gp-b-1"),
        member("gp-c", "right", "Working", "gp-a", assignee="greeter-furiosa"),
        member("gp-a", "top", "Landed", landedCommits=["0123456789abcdef"]),
        named=["gp-zz"],
        requests={"gp-b-1": request},
    )
    assert output.table(HEADINGS, rows(seen)) == (
        "WAVE  BEAD   NAME    PHASE      AGENT            WHY                     TITLE\n"
        "1     gp-a   top     Landed     -                as 0123456789ab         Do top\n"
        "1     gp-zz  -       Missing    -                no such bead\n"
        "2     gp-b   left    Submitted  greeter-max      merge request Gating 1  Do left\n"
        "2     gp-c   right   Working    greeter-furiosa  -                       Do right\n"
        "3     gp-d   bottom  Blocked    -                Blocked(gp-b,gp-c)      Do bottom\n"
    )


def test_work_that_came_back_says_so_with_its_number_and_reason_until_it_is_done() -> None:
    request = MergeRequest(metadata=ObjectMeta(name="gp-c-2"), status=MergeRequestStatus(phase="Queued", position=2))
    back: dict[str, Any] = {"lastRework": Rework(reason="Conflicted", mergeRequestName="gp-c-1")}
    seen = diamond(
        member("gp-a", "a", "Ready", reworks=1, **back),
        member("gp-b", "b", "Working", assignee="greeter-max", reworks=2, **back),
        member("gp-c", "c", "Submitted", reworks=1, mergeRequestName="gp-c-2", **back),
        member("gp-d", "d", "Landed", reworks=1, landedCommits=["0123456789abcdef"], **back),
        member("gp-e", "e", "Working", **back),
        requests={"gp-c-2": request},
    )
    assert [row[5] for row in rows(seen)] == [
        "rework 1: Conflicted",
        "rework 2: Conflicted",
        "rework 1: Conflicted, merge request Queued 2",
        "as 0123456789ab, after 1 rework",
        "-",
    ]


def test_a_ring_of_dependencies_stands_last_and_in_no_wave() -> None:
    seen = diamond(member("gp-a", "a", "Blocked", "gp-b"), member("gp-b", "b", "Blocked", "gp-a"), member("gp-c", "c", "Ready"))
    assert [row[:2] for row in rows(seen)] == [("1", "gp-c"), ("-", "gp-a"), ("-", "gp-b")]


def test_only_what_moved_is_told() -> None:
    left = member("gp-b", "left", "Blocked", "gp-a", conditions=BLOCKED, blockedBy=["gp-a"])
    before = rows(diamond(member("gp-a", "top", "Ready"), left))
    after = rows(diamond(member("gp-a", "top", "Hooked", assignee="greeter-max"), left))
    assert changes(before, after) == ["gp-a top: Ready -> Hooked greeter-max"]
    assert changes(after, after) == []


def test_a_screen_too_small_shows_what_is_not_done_and_counts_the_rest() -> None:
    phases = {"gp-a": "Landed", "gp-b": "Working", "gp-c": "Ready", "gp-d": "Ready"}
    table = rows(diamond(*(member(name, name, phase) for name, phase in phases.items())))
    assert fitting(table, 4) == (table, 0)
    shown, hidden = fitting(table, 2)
    assert ([row[1] for row in shown], hidden) == (["gp-b", "gp-c"], 2)


def test_the_heading_says_why_a_convoy_does_not_move() -> None:
    stuck = Condition(type="Progressing", status="False", reason="MembersWaiting", message="1 of 4 waits for gp-zz9")
    convoy = Convoy(
        metadata=ObjectMeta(name="diamond"),
        spec=ConvoySpec(title="A \x1b[31mdiamond"),
        status=ConvoyStatus(phase="Running", progress="3/4", conditions=[stuck]),
    )
    assert heading(convoy) == "convoy diamond: Running 3/4  A \\x1b[31mdiamond\n  MembersWaiting: 1 of 4 waits for gp-zz9\n"


def test_the_heading_of_a_landed_convoy_needs_no_reason() -> None:
    done = Condition(type="Progressing", status="False", reason="AllDone", message="4 of 4 done")
    status = ConvoyStatus(phase="Landed", progress="4/4", conditions=[done])
    assert heading(Convoy(metadata=ObjectMeta(name="diamond"), status=status)) == "convoy diamond: Landed 4/4\n"
