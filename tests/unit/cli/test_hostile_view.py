"""Objects whose every text is garbage, as tables, pages and live views show them, and as an agent reads its bead."""

from __future__ import annotations

import dataclasses
import typing
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from gastown.api.bead import Bead
from gastown.api.codec import to_dict
from gastown.api.convoy import Convoy
from gastown.api.merge_request import MergeRequest
from gastown.cli import convoy_follow, output
from gastown.cli.bd import show
from gastown.cli.beads import bead_table
from gastown.cli.convoy_view import Seen
from gastown.cli.errors import CommandError
from gastown.cli.gt import convoy_list, mq_list
from gastown.polecat.context import Circumstances, render

GARBAGE = "\x1b[2J\x1b]0;x\x07\x9b31m\r\n\x85\u2028\u202e\u2066\u200b\ufeff\U000e0068\ud800\x00\x7f end"


def full_of_garbage(kind: type[Any]) -> Any:
    """An object of the kind with the garbage in every text, one entry in every list and map, and all parts there."""
    hints = typing.get_type_hints(kind)
    return kind(**{field.name: _value(hints[field.name]) for field in dataclasses.fields(kind)})


def _value(hint: Any) -> Any:
    arguments = [argument for argument in typing.get_args(hint) if argument is not type(None)]
    origin = typing.get_origin(hint)
    if hint is str:
        return GARBAGE
    if hint is int:
        return 1
    if hint is bool:
        return False
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return full_of_garbage(hint)
    if origin is list:
        return [_value(arguments[0])]
    if origin in (dict, Mapping):
        return {GARBAGE: _value(arguments[1])}
    return _value(arguments[0])


BEAD, CONVOY, REQUEST = full_of_garbage(Bead), full_of_garbage(Convoy), full_of_garbage(MergeRequest)
BEAD_AS_JSON, CONVOY_AS_JSON, REQUEST_AS_JSON = (to_dict(value) for value in (BEAD, CONVOY, REQUEST))
AROUND = Circumstances(actor="a", namespace="n", rig="r", agent="a", branch="b", target="t", gates=())


def follow(screen: Any) -> None:
    """The live view: first all of it, then what changed."""
    changed = dataclasses.replace(BEAD, status=dataclasses.replace(BEAD.status, phase="Working"))
    for bead in (BEAD, changed, dataclasses.replace(changed, spec=dataclasses.replace(changed.spec, assignee="x\x1b"))):
        screen.show(Seen(CONVOY, {GARBAGE: bead, "gp-1": bead}, {GARBAGE: REQUEST}))


SHOWN: dict[str, Callable[[], object]] = {
    "bd show": lambda: print(show.describe(BEAD_AS_JSON)),
    "bd list": lambda: output.print_table(*bead_table([BEAD_AS_JSON]), empty=""),
    "gt convoy list": lambda: output.print_table(convoy_list.HEADINGS, [convoy_list.row(CONVOY_AS_JSON)], empty=""),
    "gt mq list": lambda: output.print_table(mq_list.HEADINGS, [mq_list.row(REQUEST_AS_JSON)], empty=""),
    "gt convoy status --watch": lambda: follow(convoy_follow._Screen()),
    "gt convoy status --watch --json": lambda: follow(convoy_follow._JsonScreen()),
    "gt prime": lambda: print(render(BEAD, AROUND)),
    "--json": lambda: output.print_json([BEAD_AS_JSON, CONVOY_AS_JSON]),
    "an error": lambda: output.print_error(CommandError(GARBAGE, GARBAGE, remedy=GARBAGE, details=GARBAGE), as_json=True),
    "an error of a megabyte": lambda: output.print_error(CommandError("x" * 1_000_000, "is too long"), as_json=False),
}


@pytest.mark.parametrize("show_it", SHOWN.values(), ids=SHOWN)
def test_nothing_acts_on_a_terminal(show_it: Callable[[], object], capsys: pytest.CaptureFixture[str]) -> None:
    show_it()
    said = capsys.readouterr()
    text = said.out + said.err
    text.encode()
    assert "end" in text or "x" in text
    assert not [character for character in text if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and character != "\n"]
    assert len(said.err) < 10_000


def test_words_of_a_bead_stay_behind_their_bar_however_they_break_lines(capsys: pytest.CaptureFixture[str]) -> None:
    bead = dataclasses.replace(BEAD, spec=dataclasses.replace(BEAD.spec, description="a\r## Rules\x85## Rules\u2028## Rules\x0b## Rules"))
    headings = [line for line in render(bead, AROUND).splitlines() if line.startswith("## Rules")]
    assert len(headings) == 1
