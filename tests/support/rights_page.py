"""Writes docs/reference/rights.md from the table next to it: `make update` calls this, and a test holds the page against the table."""

from __future__ import annotations

from collections.abc import Iterator

from support.rights_table import SCHEMA, TABLE, Right, RightsTable, read_table

PAGE = TABLE.with_suffix(".md")
TEXT = """\
# Who may do what in a town

Written from [rights.yaml](rights.yaml) by `make update`; do not edit. `tests/api/test_rights_table.py` tries every line as everybody on a
real API server, {tries} requests by {identities} identities, and expects that those who may can, and that all others are told why not.

Three walls stand one behind the other. **RBAC** says which verb on which kind. **Policies** of the chart
(`charts/gastown/templates/admission/`) say which object, which field, and from where. The **definitions** of the kinds say what stays as it
was made. Git has walls of its own: an agent pushes to `polecat/<its name>/*` and `refs/agents/<its name>/*` only, while its session's pod
exists.

Nobody declares who they are: the actor of a write is the user that the API server authenticated.
"""


def page(table: RightsTable) -> str:
    """The whole page."""
    tries = sum(len(right.tries) for right in table.rights) * len(table.identities)
    parts = [TEXT.format(tries=tries, identities=len(table.identities)), *_who(table)]
    for object_ in dict.fromkeys(right.object for right in table.rights):
        rows = [_row(table, right) for right in table.rights if right.object == object_]
        parts.append("\n".join([f"## {object_}\n", "| right | who may | refused by |", "|---|---|---|", *rows, ""]))
    policies = [f"| {name} | {text} |" for name, text in table.told["policies"].items()]
    parts.append("\n".join(["## Policies\n", "| policy | what it holds |", "|---|---|", *policies, ""]))
    parts.append("\n".join(["## Worth knowing\n", *(f"- {note}" for note in table.told["notes"]), ""]))
    return "\n".join(parts)


def _who(table: RightsTable) -> Iterator[str]:
    yield "\n".join(
        [
            "## Who\n",
            "| in this page | who it is | in the test |",
            "|---|---|---|",
            *(f"| {one.name} | {one.title} | {one.account.replace('/', ':') or 'no token'} |" for one in table.identities.values()),
            "",
        ]
    )


def _row(table: RightsTable, right: Right) -> str:
    may = ", ".join(name for name in table.identities if name in right.may) or "nobody"
    walls = []
    for refusal in right.refusals:
        who = ", ".join(name for name in table.identities if name in refusal.who)
        walls.append(f"{'the definition of the kind' if refusal.by == SCHEMA else refusal.by} ({who})")
    by_rbac = [name for name in table.identities if name not in right.may and all(name not in refusal.who for refusal in right.refusals)]
    walls += ["RBAC (everybody else)"] if by_rbac else []
    what = f"{right.right}: {right.how}" if right.how else right.right
    return f"| {what} | {may} | {'; '.join(walls)} |"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(read_table()))


if __name__ == "__main__":
    main()
