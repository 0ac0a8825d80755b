"""What a conflict leaves behind for those who have to reconcile it: files, git's words and the lines both sides touched."""

from __future__ import annotations

import pytest

from gastown_git import conflict_hunks
from gastown_git.conflict_hunks import Hunk, hunks_of
from gastown_git.merge import MergeConflict, merge
from gastown_git.repository import Repository
from support import git_builder as build

NUMBERED = b"".join(b"%d\n" % number for number in range(1, 31))


def conflict(
    rig: Repository, before: dict[str, build.Entry | None], ours: dict[str, build.Entry | None], theirs: dict[str, build.Entry | None]
) -> MergeConflict:
    """Two changes of the same state, merged."""
    base = build.change(rig, build.main_of(rig), before)
    merged = merge(rig, build.change(rig, base, ours), build.change(rig, base, theirs))
    assert isinstance(merged, MergeConflict)
    return merged


def replaced(content: bytes, line: bytes, by: bytes) -> bytes:
    return content.replace(b"\n" + line + b"\n", b"\n" + by + b"\n")


def anonymous(text: str) -> str:
    """The text without commit ids, which differ from run to run."""
    return "\n".join(line[:8] + "ID" if line.startswith(("<<<<<<< ", ">>>>>>> ", "||||||| ")) else line for line in text.split("\n"))


def test_a_hunk_shows_both_sides_what_was_there_before_and_where_it_is(rig: Repository) -> None:
    main = replaced(NUMBERED, b"10", b"ten\nten and a half")
    found = conflict(rig, {"n": NUMBERED}, {"n": main}, {"n": replaced(NUMBERED, b"10", b"TEN")})
    (hunk,) = found.hunks
    assert (hunk.file, hunk.line) == ("n", 10)
    assert anonymous(hunk.text).split("\n") == [
        "7", "8", "9", "<<<<<<< ID", "ten", "ten and a half", "||||||| ID", "10", "=======", "TEN", ">>>>>>> ID", "11", "12", "13",
    ]  # fmt: skip


def test_the_line_of_a_later_hunk_counts_what_the_side_merged_into_has(rig: Repository) -> None:
    main = replaced(replaced(NUMBERED, b"5", b"five\nfive and a half"), b"20", b"twenty")
    found = conflict(rig, {"n": NUMBERED}, {"n": main}, {"n": replaced(replaced(NUMBERED, b"5", b"V"), b"20", b"XX")})
    assert [hunk.line for hunk in found.hunks] == [5, 21]
    assert main.split(b"\n")[20] == b"twenty"


@pytest.mark.parametrize(
    ("before", "ours", "theirs", "files", "words"),
    [
        pytest.param({"b": b"a\0b"}, {"b": b"a\0c"}, {"b": b"a\0d"}, ("b",), "Merge conflict in b", id="binary files"),
        pytest.param({"f": b"1\n"}, {"f": None}, {"f": b"2\n"}, ("f",), "modify/delete", id="deleted on main, changed in the work"),
        pytest.param({"f": b"1\n"}, {"f": b"2\n"}, {"f": None}, ("f",), "modify/delete", id="changed on main, deleted in the work"),
        pytest.param(
            {"f": NUMBERED}, {"f": None, "g": NUMBERED}, {"f": None, "h": NUMBERED}, ("f", "g", "h"), "rename/rename", id="renamed twice"
        ),
        pytest.param(
            {"f": NUMBERED}, {"f": None, "g": NUMBERED}, {"f": None}, ("g",), "rename/delete", id="renamed on main, deleted in the work"
        ),
        pytest.param({}, {"f": b"1\n"}, {"f/g": b"1\n"}, ("f~ID",), "file/directory", id="a file where the work has a folder"),
        pytest.param({"l": (build.LINK, b"a")}, {"l": (build.LINK, b"b")}, {"l": (build.LINK, b"c")}, ("l",), "conflict in l", id="links"),
    ],
)  # fmt: skip
def test_what_has_no_lines_in_common_is_named_with_the_words_of_git_and_no_hunks(
    rig: Repository,
    before: dict[str, build.Entry | None],
    ours: dict[str, build.Entry | None],
    theirs: dict[str, build.Entry | None],
    files: tuple[str, ...],
    words: str,
) -> None:
    found = conflict(rig, before, ours, theirs)
    assert tuple(file.partition("~")[0] + ("~ID" if "~" in file else "") for file in found.files) == files
    assert words in found.message
    assert found.hunks == ()


def test_a_file_renamed_on_main_and_changed_on_both_sides_shows_its_lines_under_the_new_name(rig: Repository) -> None:
    found = conflict(
        rig, {"old": NUMBERED}, {"old": None, "new": replaced(NUMBERED, b"10", b"ten")}, {"old": replaced(NUMBERED, b"10", b"X")}
    )
    assert found.files == ("new",)
    (hunk,) = found.hunks
    assert (hunk.file, hunk.line) == ("new", 10)
    assert "\nten\n" in hunk.text
    assert "\nX\n" in hunk.text


def test_lines_and_names_that_are_not_text_are_shown_as_escapes_on_one_line_each(rig: Repository) -> None:
    name = b"d/\xff\x1b[31m\n.txt".decode("utf-8", "surrogateescape")
    lines = b"\xe4\xff\x1b[2J\tx\xe2\x80\xae\r\n"
    found = conflict(rig, {name: b"1\n"}, {name: b"ours " + lines}, {name: b"theirs " + lines})
    (hunk,) = found.hunks
    assert (found.files, hunk.file) == ((name,), name)
    assert conflict_hunks.shown(name) == "d/\\xff\\x1b[31m\\n.txt"
    assert "ours \\xe4\\xff\\x1b[2J\tx\\u202e" in hunk.text.split("\n")
    hunk.text.encode()
    found.message.encode()


def test_hunks_are_bounded_in_number_length_and_width(rig: Repository) -> None:
    long = b"".join(b"%d %s\n" % (number, b"x" * 1000) for number in range(500))
    many = {f"{number:03}": b"1\n" for number in range(100)}
    found = conflict(
        rig,
        {**many, "000": b"1\n"},
        {name: (b"ours\n" + long if name == "000" else b"ours\n") for name in many},
        {name: (b"theirs\n" + long[::-1] if name == "000" else b"theirs\n") for name in many},
    )
    assert len(found.files) == 100
    assert [hunk.file for hunk in found.hunks] == sorted(many)[: conflict_hunks.MAX_HUNKS]
    assert max(len(hunk.text) for hunk in found.hunks) <= conflict_hunks.MAX_HUNK_CHARACTERS
    assert sum(len(hunk.text) for hunk in found.hunks) <= conflict_hunks.MAX_CHARACTERS
    assert max(len(line) for hunk in found.hunks for line in hunk.text.split("\n")) < 200


def test_markers_that_lie_in_the_files_themselves_do_no_harm(rig: Repository) -> None:
    forged = b"<<<<<<< main\n1\n=======\n2\n>>>>>>> mine\n"
    found = conflict(rig, {"f": forged + b"x\n"}, {"f": forged + b"ours\n"}, {"f": forged + b"theirs\n"})
    (hunk,) = found.hunks
    assert hunk.line == 6
    ours, theirs = "a" * 40, "b" * 40
    unclosed = f"<<<<<<< {ours}\n1\n<<<<<<< {ours}\n".encode()
    assert list(hunks_of("f", unclosed, ours, theirs)) == [Hunk("f", 1, unclosed.decode())]
