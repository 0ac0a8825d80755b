from __future__ import annotations

import errno
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gastown.local import town
from gastown.local.errors import LocalTownError, quote_log
from gastown.local.town_directory import TownDirectory, town_directory


def silent(_: str) -> None:
    return


def test_towns_live_in_the_state_folder_one_beside_the_other(tmp_path: Path) -> None:
    environment = {"XDG_STATE_HOME": str(tmp_path)}
    assert town_directory(environment=environment).root == tmp_path / "gastown" / "default"
    assert town_directory("second", environment).root == tmp_path / "gastown" / "second"


@pytest.mark.parametrize("value", ["", "relative/path"], ids=["empty", "relative"])
def test_without_a_usable_state_folder_it_is_the_one_in_the_home(value: str) -> None:
    assert town_directory(environment={"XDG_STATE_HOME": value}).root == Path.home() / ".local/state/gastown/default"


@pytest.mark.parametrize("name", ["", "Upper", "a b", "../up", "-dash", "dash-", "x" * 41, "ümlaut", "a/b", "a\n"])
def test_a_name_that_is_no_dns_label_is_refused(name: str) -> None:
    with pytest.raises(LocalTownError, match="use 1 to 40 lower-case letters"):
        town_directory(name, {})


def test_everything_is_closed_to_other_users(tmp_path: Path) -> None:
    directory = TownDirectory("test", tmp_path / "town")
    directory.create()
    directory.node.chmod(0o755)
    directory.create()
    folders = [directory.root, *(path for path in directory.root.iterdir() if path.is_dir())]
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}


def test_a_folder_that_can_not_be_made_is_named_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalTownError, match=r"can not make .*file.*set XDG_STATE_HOME"):
        TownDirectory("test", tmp_path / "file" / "town").create()


def test_a_second_caller_waits_until_the_first_is_done_or_killed(tmp_path: Path) -> None:
    directory = TownDirectory("test", tmp_path / "town")
    script = (
        "import sys, time, pathlib; from gastown.local.town_directory import TownDirectory\n"
        "with TownDirectory('test', pathlib.Path(sys.argv[1])).lock(print): print('locked', flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(directory.root)], stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"locked\n"
        told: list[str] = []

        def report(line: str) -> None:
            told.append(line)
            first.kill()

        with directory.lock(report):
            assert told == ["waiting for another gt up or gt down of town test"]


def test_down_and_status_of_a_town_that_never_was_do_nothing(tmp_path: Path) -> None:
    directory = TownDirectory("test", tmp_path / "town")
    told: list[str] = []
    town.down(report=told.append, directory=directory)
    assert told == [f"town test was never up: {directory.root} does not exist"]
    status = town.status(directory=directory)
    assert not status.is_up
    assert [process.pid for process in status.processes] == [None] * 6
    assert not directory.root.exists()


def test_an_error_shows_the_end_of_the_log_and_where_it_is(tmp_path: Path) -> None:
    log = tmp_path / "etcd.log"
    log.write_text("".join(f"line {number}\n" for number in range(100)))
    quoted = quote_log(log)
    assert str(log) in quoted
    assert "line 99" in quoted
    assert "line 80" not in quoted
    assert "does not exist" in quote_log(tmp_path / "none.log")
    log.write_bytes(b"\xff\xfe not text\n")
    assert "not text" in quote_log(log)


def test_a_full_disk_is_told_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = TownDirectory("test", tmp_path / "town")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    directory.create()
    monkeypatch.setattr(town, "stop_node", refuse)  # a disk can not be filled here
    with pytest.raises(LocalTownError, match="town test: No space left on device in "):
        town.down(report=lambda _: None, directory=directory)
