"""Text of strangers: what acts on a terminal is shown, what is only strange to us is left as it is."""

from __future__ import annotations

import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gastown.api import text

# Visible signs that Unicode counts as formatting.
VISIBLE = {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD, *range(0x13430, 0x13440)}
ACTING = [
    chr(code)
    for code in range(sys.maxunicode + 1)
    if unicodedata.category(chr(code)) in ("Cc", "Cf", "Cs", "Zl", "Zp") and code not in VISIBLE
]
ANYTHING = st.text(st.characters(exclude_categories=[]))


@pytest.mark.parametrize("show", [text.escaped, text.plain, text.plain_lines, text.quoted, text.json_text])
def test_nothing_that_acts_on_a_terminal_is_left(show: object) -> None:
    assert callable(show)
    for character in ACTING:
        left = show(f"a{character}b")
        assert character in "\t\n" or character not in left, f"U+{ord(character):04X}"


def test_words_of_all_languages_and_pictures_are_left_alone() -> None:
    for words in ("grüße, 世界", "עברית", "العربية", "😀 🇪🇺", "a\tb", "e\u0301", "❤\ufe0f"):
        assert text.plain(words) == words


def test_sentences_hidden_in_tags_and_variation_selectors_come_to_light() -> None:
    assert text.plain("do\U000e0068\U000e0069 this\U000e0121") == "do\\U000e0068\\U000e0069 this\\U000e0121"


def test_a_name_of_two_lines_stays_one_word_and_a_title_becomes_one_line() -> None:
    assert text.escaped("a\nb\tc\r") == "a\\nb\\tc\\r"
    assert text.plain("a\nb\tc\r\nd") == "a b\tc d"
    assert text.plain_lines("a\x1b[1m\r\nb\tc\n") == "a\\x1b[1m\nb\tc"


@pytest.mark.parametrize("words", ["x" * 50, "\x1b" * 50, "\n" * 50, "x" * 10 + "\x1b", "😀" * 50])
def test_what_is_cut_is_marked_and_no_longer_than_asked_for(words: str) -> None:
    cut = text.plain(words, 10)
    assert len(cut) <= 10
    assert cut.endswith("...")
    assert text.plain("x" * 10, 10) == "x" * 10


@given(ANYTHING)
def test_law_text_becomes_one_line_that_can_be_encoded(words: str) -> None:
    for line in (text.escaped(words), text.plain(words)):
        assert len(line.splitlines()) <= 1
        line.encode()


@given(st.dictionaries(ANYTHING, st.lists(ANYTHING)))
def test_law_a_document_made_fit_for_a_terminal_means_the_same(value: object) -> None:
    document = text.json_text(json.dumps(value, ensure_ascii=False, indent=1))
    document.encode()
    assert json.loads(document) == value
