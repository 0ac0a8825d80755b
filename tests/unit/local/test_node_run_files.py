"""What a shim leaves for the next agent, also after a power cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from gastown.local.node.run_files import RunExit, read_exit, read_state, write_exit
from gastown.local.node.shim import write_lines

STATE = {"shim": "12:345", "init": "13:346", "started": 1.5, "boot": "a-boot", "confined": 1}


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write_lines(str(tmp_path / "state"), STATE)
    ended = RunExit(3, 1.0, 2.0, "StartError", "no program")
    write_exit(tmp_path, ended)
    state = read_state(tmp_path)
    assert state is not None
    assert (state.shim.process_id, state.init.start_ticks, state.boot_id, state.is_confined) == (12, "346", "a-boot", True)
    assert read_exit(tmp_path) == ended


@pytest.mark.parametrize("name", ["state", "exit"])
def test_a_file_cut_anywhere_is_read_whole_or_not_at_all(tmp_path: Path, name: str) -> None:
    write_lines(str(tmp_path / "state"), STATE)
    write_exit(tmp_path, RunExit(3, 1.0, 2.0))
    read = {"state": read_state, "exit": read_exit}[name]
    whole = (tmp_path / name).read_bytes()
    for length in range(len(whole)):
        (tmp_path / name).write_bytes(whole[:length])
        read(tmp_path)  # no cut raises
    (tmp_path / name).write_bytes(b"")
    assert read(tmp_path) is None
