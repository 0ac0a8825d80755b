"""Who may do what: every line of docs/reference/rights.yaml, tried as every identity with its real token, on an installed chart."""

from __future__ import annotations

import pytest

from support.rights_table import Right, read_table
from support.rights_town import RightsTown
from support.rights_try import complaint

pytestmark = pytest.mark.cluster

TABLE = read_table()


@pytest.mark.parametrize("right", [pytest.param(right, id=f"{right.object}: {right.right}") for right in TABLE.rights])
def test_who_may_may_and_everybody_else_is_told_why_not(rights: RightsTown, right: Right) -> None:
    found = [complaint(rights, identity, right, one) for identity in TABLE.identities.values() for one in right.tries]
    assert [problem for problem in found if problem] == []
