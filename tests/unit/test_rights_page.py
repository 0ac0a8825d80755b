"""docs/reference/rights.yaml as a document: the page is what the table says, and the table is about the policies that there are."""

from __future__ import annotations

import re
from pathlib import Path

from support.rights_page import PAGE, page
from support.rights_table import SCHEMA, read_table

ADMISSION = Path(__file__).parents[2] / "charts" / "gastown" / "templates" / "admission"


def test_the_page_of_rights_is_written_from_the_table() -> None:
    assert PAGE.read_text() == page(read_table()), "docs/reference/rights.md is stale: run make update"


def test_every_policy_of_the_chart_is_explained_and_every_one_that_refuses_is_tried() -> None:
    templates = "\n".join(path.read_text() for path in ADMISSION.glob("*.yaml"))
    there = set(re.findall(r"kind: (?:Validating|Mutating)AdmissionPolicy\nmetadata:\n  name: (\S+)", templates))
    table = read_table()
    explained = {name for names in table.told["policies"] for name in names.split(", ")}
    assert explained == there
    tried = {refusal.by for right in table.rights for refusal in right.refusals} - {SCHEMA}
    # These two stamp; every write of the table that is allowed is looked at for its stamp.
    assert tried == there - {"gastown-actor", "gastown-status-actor"}


def test_the_table_forbids_what_an_agent_must_never_do_and_allows_what_it_lives_on() -> None:
    table = read_table()
    forbidden = [one for right in table.rights if "agent" not in right.may for one in right.tries]
    allowed = [one for right in table.rights if "agent" in right.may for one in right.tries]
    assert len(forbidden) >= 120
    assert len(allowed) >= 20
