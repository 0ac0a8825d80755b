"""What a merge request is told by the refinery fits into its status, whatever strangers named things."""

from __future__ import annotations

from dataclasses import replace

from gastown.api import conditions, reasons
from gastown.processes.refinery import verdicts
from gastown_git.conflict_hunks import Hunk
from gastown_git.refinery.planner import Conflict, ReturnConflict
from support import build

BASE = "12" * 20


def test_a_hunk_fits_into_the_status_where_a_branch_of_a_long_name_stands_for_ids_of_commits() -> None:
    mr = build.merge_request()
    mr = replace(mr, spec=replace(mr.spec, target="b" * 244))
    conflict = Conflict(mr.metadata.name, ("f",), "Merge conflict in f", (Hunk("f", 1, "\n".join([BASE] * 40)),))
    told = verdicts.turned_away(ReturnConflict(mr.metadata.name, BASE, conflict), mr, BASE, {}, "2026-01-01T00:00:00Z")
    assert told.conflict is not None
    assert len(told.conflict.hunks[0].text) == verdicts.HUNK_LIMIT
    landed = conditions.find_condition(told.conditions, conditions.LANDED)
    assert landed is not None
    assert landed.reason == reasons.CONFLICTED
