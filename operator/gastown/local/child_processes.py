"""Starting and stopping the processes of a town: each in a session of its own, with a log, and a record that survives its starter.

`gt up` ends while they run on; another `gt`, hours later, must find exactly these and nobody else's.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gastown.local.atomic_file import write_atomically
from gastown.local.errors import LocalTownError, ProcessEnded, quote_log
from gastown.local.process_identity import ProcessIdentity, find_by_environment, find_identity, stop_all
from gastown.local.town_directory import TownDirectory

# In the environment of every process of a town, and of what it starts: finds one whose record is lost.
TOWN_VARIABLE = "GASTOWN_LOCAL_TOWN"
_PROCESS_VARIABLE = "GASTOWN_LOCAL_PROCESS"
# Notes its own number before it becomes the program, so that a starter which is killed at any moment leaves nothing unknown:
# a second etcd on the same data would wait for the first one's lock for ever.
_NOTE_AND_RUN = 'echo $$ > "$0" && exec "$@"'
_LOG_LIMIT_BYTES = 20 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Command:
    """What to run.

    Attributes:
        arguments: The program and its arguments.
        environment: Added to our own.
        files: Files that the program reads at its start only: when their content changes, it must be started again.
    """

    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Sequence[Path] = ()

    def digest(self) -> str:
        """Differs when a running process of this command would have to be replaced."""
        digest = hashlib.sha256(json.dumps([list(self.arguments), sorted(self.environment.items())]).encode())
        for file in self.files:
            digest.update(hashlib.sha256(file.read_bytes()).digest())
        return digest.hexdigest()

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Command:
        """What `plain` gave."""
        return cls(list(plain["arguments"]), dict(plain["environment"]), [Path(file) for file in plain["files"]])

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "arguments": list(self.arguments),
            "environment": dict(self.environment),
            "files": [str(file) for file in self.files],
        }


@dataclass(frozen=True, slots=True)
class _Record:
    identity: ProcessIdentity
    digest: str
    log_start: int
    command: Command | None


class ChildProcesses:
    """The processes of one town. Callers hold the town's lock.

    Args:
        directory: Of the town; its run/ and logs/ folders exist.
    """

    def __init__(self, directory: TownDirectory) -> None:
        self._directory = directory
        # Kept so that the interpreter can collect those that end while we run.
        self._children: list[subprocess.Popen[bytes]] = []
        self._started: set[str] = set()

    def ensure(self, name: str, command: Command, *, grace_seconds: float = 5.0) -> bool:
        """Have a process with this command run: leave it alone if it does, replace one with another command.

        Args:
            grace_seconds: For the one that is replaced.

        Returns:
            Whether it was started now.
        """
        record = self._read(name)
        if record is not None and record.identity.is_alive():
            if record.digest == command.digest():
                return False
            self.stop(name, grace_seconds)
        self._stop_unrecorded(name, grace_seconds)
        self._start(name, command)
        return True

    def revive(self, name: str, *, grace_seconds: float = 5.0) -> bool:
        """Start a process that has ended again, with the command it had.

        Args:
            grace_seconds: For one that a killed starter left without a record.

        Returns:
            Whether it was started; not if it runs, or nobody knows its command.

        Raises:
            LocalTownError, OSError: It could not be started.
        """
        record = self._read(name)
        if record is None or record.command is None or record.identity.is_alive():
            return False
        self._stop_unrecorded(name, grace_seconds)
        self._start(name, record.command)
        return True

    def collect(self) -> None:
        """Let the kernel forget children of ours that have ended."""
        self._children = [child for child in self._children if child.poll() is None]

    def was_started_here(self, name: str) -> bool:
        """Whether this object started it, and did not find it running."""
        return name in self._started

    def find(self, name: str) -> ProcessIdentity | None:
        """The process of this name if it runs."""
        record = self._read(name)
        return record.identity if record is not None and record.identity.is_alive() else None

    def names(self) -> list[str]:
        """Names that have a record, whether the process runs or not."""
        return sorted(file.stem for file in self._directory.run.glob("*.json"))

    def check(self, name: str) -> None:
        """See that a process which was started is still there.

        Raises:
            ProcessEnded: It is not; shows the end of its log.
        """
        record = self._read(name)
        if record is None or not record.identity.is_alive():
            raise ProcessEnded(name, self._directory.log_of(name), record.log_start if record else 0)

    def quote_log(self, name: str) -> str:
        """The end of the log of the present run, for an error."""
        record = self._read(name)
        return quote_log(self._directory.log_of(name), record.log_start if record else 0)

    def stop(self, name: str, grace_seconds: float) -> None:
        """Stop a process if it runs, and forget it."""
        record = self._read(name)
        if record is not None:
            record.identity.stop(grace_seconds)
        self._stop_unrecorded(name, grace_seconds)
        self._record_file(name).unlink(missing_ok=True)

    def stop_strays(self, grace_seconds: float) -> int:
        """Stop what was started for this town and has no record any more.

        Returns:
            How many there were.
        """
        known = {record.identity for name in self.names() if (record := self._read(name)) is not None}
        strays = [found for found in find_by_environment(TOWN_VARIABLE, str(self._directory.root)) if found not in known]
        stop_all(strays, grace_seconds)
        return len(strays)

    def _start(self, name: str, command: Command) -> None:
        program = shutil.which(command.arguments[0])
        if program is None:
            raise LocalTownError(f"{name}: can not run {command.arguments[0]}: no such program, or not executable")
        log = self._directory.log_of(name)
        _limit(log)
        marks = {TOWN_VARIABLE: str(self._directory.root), _PROCESS_VARIABLE: self._mark(name)}
        with log.open("ab") as output:
            log.chmod(0o600)
            log_start = output.tell()
            child = subprocess.Popen(
                ["/bin/sh", "-c", _NOTE_AND_RUN, str(self._note_file(name)), program, *command.arguments[1:]],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self._directory.root,
                env={**os.environ, **command.environment, **marks},
                # Ctrl-C at the terminal of `gt up` must not end the town.
                start_new_session=True,
            )
        self._children.append(child)
        self._started.add(name)
        identity = find_identity(child.pid)
        if identity is None:
            raise ProcessEnded(name, log, log_start)
        record = {
            "pid": identity.pid,
            "startTime": identity.start_time,
            "bootId": identity.boot_id,
            "digest": command.digest(),
            "logStart": log_start,
            "command": command.plain(),
        }
        write_atomically(self._record_file(name), json.dumps(record, indent=1) + "\n")

    def _stop_unrecorded(self, name: str, grace_seconds: float) -> None:
        """Stop a process whose starter was killed before it wrote the record."""
        note = self._note_file(name)
        try:
            identity = find_identity(int(note.read_text()))
        except (FileNotFoundError, ValueError):
            return
        if identity is None:
            return
        record = self._read(name)
        is_recorded = record is not None and record.identity == identity
        # The number may have gone to somebody else since; only the mark tells.
        if not is_recorded and identity in find_by_environment(_PROCESS_VARIABLE, self._mark(name)):
            identity.stop(grace_seconds)
        note.unlink(missing_ok=True)

    def _mark(self, name: str) -> str:
        return f"{name} of {self._directory.root}"

    def _note_file(self, name: str) -> Path:
        return self._directory.run / f"{name}.pid"

    def _record_file(self, name: str) -> Path:
        return self._directory.run / f"{name}.json"

    def _read(self, name: str) -> _Record | None:
        try:
            content = json.loads(self._record_file(name).read_text())
            identity = ProcessIdentity(int(content["pid"]), int(content["startTime"]), str(content["bootId"]))
            command = Command.from_plain(content["command"]) if "command" in content else None
            return _Record(identity, str(content["digest"]), int(content["logStart"]), command)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            # Not one of ours, or damaged: then there is nothing we may stop. stop_strays finds the process if it runs.
            return None


def _limit(log: Path) -> None:
    try:
        if log.stat().st_size > _LOG_LIMIT_BYTES:
            log.replace(log.with_name(f"{log.name}.1"))
    except FileNotFoundError:
        return
