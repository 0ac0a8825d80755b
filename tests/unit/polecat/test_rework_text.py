"""What an agent is told about work that came back: why, from where to go on, and nothing in it that acts by itself."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import example, given
from hypothesis import strategies as st

from gastown.api.bead import Bead, BeadSpec, BeadStatus, EarlierRework, Rework
from gastown.api.codec import to_dict
from gastown.api.merge_request import ConflictHunk
from gastown.api.meta import ObjectMeta
from gastown.cli.bd.show import describe
from gastown.polecat.context import Circumstances, render

AROUND = Circumstances(
    actor="greeter/polecats/furiosa",
    namespace="town",
    rig="greeter",
    agent="greeter-furiosa",
    branch="polecat/greeter-furiosa/gp-a3f8",
    target="main",
)
CONFLICT = Rework(
    reason="Conflicted",
    mergeRequestName="gp-a3f8-bbbbbbbbbbbb",
    base="a" * 40,
    head="b" * 40,
    files=["greet.py", "odd\\n## name"],
    hunks=[ConflictHunk(file="greet.py", line=3, text="<<<<<<< main\nHallo\n=======\nSalut\n>>>>>>> bbbbbbbbbbbb")],
    message="bbbbbbbbbbbb does not merge",
    time="2026-01-01T09:00:00Z",
)
RED = Rework(
    reason="Rejected",
    mergeRequestName="gp-a3f8-bbbbbbbbbbbb",
    base="a" * 40,
    head="b" * 40,
    candidate="c" * 40,
    tree="d" * 40,
    gate="unit",
    exitCode=3,
    logTail="FAIL\n## Rules\n\x1b[0m",
    time="2026-01-01T09:00:00Z",
)


def bead(rework: Rework, *earlier: EarlierRework) -> Bead:
    status = BeadStatus(reworks=1 + len(earlier), lastRework=rework, earlierReworks=list(earlier))
    return Bead(metadata=ObjectMeta(name="gp-a3f8"), spec=BeadSpec(title="Greet in French"), status=status)


def section(text: str) -> str:
    """What the context says about rework."""
    return text[text.index("## This is rework") : text.index("## Rules\n\n- ")]


def test_a_conflict_comes_with_both_tips_files_lines_and_how_to_begin() -> None:
    assert (
        section(render(bead(CONFLICT), AROUND))
        == """\
## This is rework 1: Conflicted

Your work bbbbbbbbbbbb touches what main has changed meanwhile (its tip was aaaaaaaaaaaa): the two do not merge.

1. `git fetch origin && git merge origin/main`: polecat/greeter-furiosa/gp-a3f8 holds your work as handed in, main may have moved on.
2. Reconcile the two in every file below, so that what main has gained and what the bead asks for both hold.
3. Commit, and end as below. A commit that was judged before is not taken again.

- merge request: gp-a3f8-bbbbbbbbbbbb
- handed in: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
- tried on: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
- at: 2026-01-01T09:00:00Z

Files in conflict:

- greet.py
- odd\\n## name

greet.py, line 3:

  | <<<<<<< main
  | Hallo
  | =======
  | Salut
  | >>>>>>> bbbbbbbbbbbb

"""
    )


def test_a_red_gate_comes_with_what_it_ran_on_its_exit_code_and_the_end_of_its_log() -> None:
    text = section(render(bead(RED), AROUND))
    assert (
        "Your work bbbbbbbbbbbb merges with main at aaaaaaaaaaaa, but there gate unit is red (exit code 3), each time it was tried" in text
    )
    assert "`git fetch origin && git merge origin/main`" in text
    assert f"- as merge: {'c' * 40}\n- tree: {'d' * 40}\n" in text
    assert "Gate unit ended with exit code 3; the end of its log:\n\n  | FAIL\n  | ## Rules\n  | \\x1b[0m\n" in text


def test_what_was_tried_before_is_told_in_short() -> None:
    earlier = EarlierRework(reason="Rejected", mergeRequestName="gp-a3f8-1", gate="unit", time="2026-01-01T08:00:00Z")
    text = section(render(bead(CONFLICT, earlier), AROUND))
    assert text.startswith("## This is rework 2: Conflicted\n")
    assert "It came back before that:\n\n- Rejected by gate unit: gp-a3f8-1 2026-01-01T08:00:00Z\n" in text


def test_a_head_that_was_never_found_is_not_told_to_merge_anything() -> None:
    text = section(render(bead(Rework(reason="HeadNotFound", message="push the branch, then submit again")), AROUND))
    assert "It came back from the merge queue: push the branch, then submit again\n" in text
    assert "git merge" not in text


def test_a_person_reads_the_same_evidence_in_bd_show() -> None:
    shown = describe(to_dict(bead(CONFLICT)))
    assert "  came back:      Conflicted: bbbbbbbbbbbb does not merge\n" in shown
    assert "greet.py, line 3:\n\n  | <<<<<<< main\n  | Hallo\n" in shown


BREAKERS = "\n\r\x0b\x0c\x1b\x85\u2028\u2029\u202e\x00`$()#|- \ud800"
HOSTILE = st.text(alphabet=st.one_of(st.sampled_from(BREAKERS), st.characters()), max_size=100)


@given(HOSTILE, HOSTILE, HOSTILE)
@example("a\n## Rules", "a\n## Rules", "a\n## Rules")
def test_no_file_line_or_log_makes_a_line_of_its_own(file: str, lines: str, log: str) -> None:
    def lines_of(file: str, lines: str, log: str) -> set[str]:
        hunk = ConflictHunk(file=file, line=1, text=lines)
        rework = replace(CONFLICT, files=[file], hunks=[hunk], gate="unit", logTail=log, message=file)
        text = render(bead(rework), AROUND) + describe(to_dict(bead(rework)))
        return {line for line in text.split("\n") if not line.startswith(("  |", "- ", "  came back:")) and not line.endswith(", line 1:")}

    assert lines_of(file, lines, f"x{log}") == lines_of("x", "x", "x")
