"""Where the API server serves a kind."""

from __future__ import annotations

from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gastown.api.kinds import BEAD, POD
from gastown.kube import paths


def test_core_and_group_kinds_have_different_roots() -> None:
    assert paths.collection(POD, "town") == "/api/v1/namespaces/town/pods"
    assert paths.collection(BEAD, None) == "/apis/gastown.dev/v1alpha1/beads"


def test_a_subresource_follows_the_name() -> None:
    assert paths.item(BEAD, "town", "gp-1", "status") == "/apis/gastown.dev/v1alpha1/namespaces/town/beads/gp-1/status"


def test_an_empty_name_is_refused_because_it_would_mean_all_objects() -> None:
    with pytest.raises(ValueError, match="Bead in namespace town: empty name"):
        paths.item(BEAD, "town", "")


def test_a_name_cannot_leave_its_place_in_the_path() -> None:
    assert paths.item(POD, "town", "../../secrets/x") == "/api/v1/namespaces/town/pods/..%2F..%2Fsecrets%2Fx"


def test_a_query_leaves_out_what_is_not_told() -> None:
    assert paths.with_query("/x", watch=True, limit=None, labelSelector="", resourceVersion="0") == "/x?watch=true&resourceVersion=0"
    assert paths.with_query("/x", limit=None) == "/x"


@given(st.text(min_size=1))
def test_any_text_comes_through_a_query(text: str) -> None:
    assert parse_qs(urlsplit(paths.with_query("/x", labelSelector=text)).query, keep_blank_values=True) == {"labelSelector": [text]}
    assert unquote(paths.quoted(text)) == text
