"""Names that follow from other names: the same each time, never too long, never two for one."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gastown.api import names

LABEL_VALUE = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
BEAD_CRD = Path(__file__).parents[3] / "crds" / "gastown.dev_beads.yaml"


def test_the_bead_of_a_template_has_the_same_id_each_time_and_another_in_another_convoy() -> None:
    first = names.convoy_bead_name("gp", "uid-1", "parser")
    assert first == names.convoy_bead_name("gp", "uid-1", "parser")
    assert first != names.convoy_bead_name("gp", "uid-2", "parser")
    assert first != names.convoy_bead_name("gp", "uid-1", "printer")


@pytest.mark.parametrize(
    ("bead_id", "parent"),
    [("gp-a3f8.1", "gp-a3f8"), ("gp-a3f8.1.2", "gp-a3f8.1"), ("gp-a3f8", ""), ("mol-patrol.inbox-check", ""), (".1", "")],
)
def test_the_parent_is_what_stands_before_the_last_number(bead_id: str, parent: str) -> None:
    assert names.parent_of(bead_id) == parent


@pytest.mark.parametrize(("bead_id", "prefix"), [("gp-a3f8", "gp"), ("mol-deacon-patrol", "mol"), ("nodash", "")])
def test_the_prefix_is_what_stands_before_the_first_dash(bead_id: str, prefix: str) -> None:
    assert names.prefix_of(bead_id) == prefix


@pytest.mark.parametrize(
    ("role", "rig", "name", "shown"),
    [
        ("polecat", "greeter", "greeter-furiosa", "greeter/polecats/furiosa"),
        ("crew", "greeter", "greeter-ada", "greeter/crew/ada"),
        ("crew", "", "ada", "crew/ada"),
        ("witness", "greeter", "greeter-witness", "greeter/witness"),
        ("mayor", "", "mayor", "mayor"),
    ],
)
def test_an_agent_is_shown_with_its_rig_and_role(role: str, rig: str, name: str, shown: str) -> None:
    assert names.display_actor(role, rig, name) == shown


def test_one_submitted_head_has_one_merge_request_name() -> None:
    assert names.merge_request_name("gp-a3f8", "0123456789abcdef" * 2 + "01234567") == "gp-a3f8-0123456789ab"


labels = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,60}[a-z0-9])?", fullmatch=True)
long_names = st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,120}[a-z0-9])?", fullmatch=True)
object_ids = st.text("0123456789abcdef", min_size=40, max_size=40)


@given(long_names)
def test_law_a_shortened_name_is_a_valid_label_value(name: str) -> None:
    short = names.shorten(name)
    assert len(short) <= names.LABEL_LIMIT
    assert LABEL_VALUE.fullmatch(short)
    assert short == name or len(name) > names.LABEL_LIMIT


@given(long_names, labels, labels)
def test_law_two_names_never_share_a_short_one_even_when_they_begin_alike(beginning: str, one: str, other: str) -> None:
    long_beginning = beginning + "a" * names.LABEL_LIMIT
    assert (names.shorten(long_beginning + one) == names.shorten(long_beginning + other)) is (one == other)


@given(labels, object_ids, object_ids, st.integers(1, 99), labels)
def test_law_the_job_of_a_gate_fits_into_a_label(rig: str, tree: str, digest: str, attempt: int, gate: str) -> None:
    job = names.gate_job_name(names.gate_run_name(rig, tree, digest, attempt), gate)
    assert len(job) <= names.LABEL_LIMIT


@given(st.from_regex(r"[a-z]{2,10}", fullmatch=True), st.text(min_size=1, max_size=40), labels)
def test_law_the_bead_of_a_template_has_an_id_that_the_crd_accepts(prefix: str, convoy_uid: str, local_name: str) -> None:
    bead_id = names.convoy_bead_name(prefix, convoy_uid, local_name)
    assert re.fullmatch(bead_name_pattern(), bead_id)
    assert names.prefix_of(bead_id) == prefix


@functools.cache
def bead_name_pattern() -> str:
    document = yaml.safe_load(BEAD_CRD.read_text())
    parent = document["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["parent"]
    return str(parent["pattern"])


@given(st.text(max_size=20), st.integers(1, 20))
def test_law_a_digest_has_the_length_asked_for_and_depends_on_the_text_alone(text: str, length: int) -> None:
    digest = names.base36_digest(text, length)
    assert re.fullmatch(r"[0-9a-z]*", digest)
    assert len(digest) == length
    assert digest == names.base36_digest(text, length)
