"""Runs `gt` and `bd` as a user or a session pod would: as processes, with an environment of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class CommandLine:
    """Somebody at a prompt.

    Attributes:
        folder: Where they stand.
        variables: Beside PATH and HOME.
    """

    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    def run(self, line: str | list[str], *, given: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command; a string is split at spaces."""
        program, *arguments = line.split() if isinstance(line, str) else line
        environment = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.folder),
            "LC_ALL": "C.UTF-8",
            **self.variables,
            **variables,
        }
        command = [sys.executable, "-m", f"gastown.cli.{program}.main", *arguments]
        # Bytes that are no text go in and come out as half characters.
        how: dict[str, Any] = {"text": True, "errors": "surrogateescape", "capture_output": True, "timeout": 60}
        return subprocess.run(command, cwd=self.folder, env=environment, input=given, check=False, **how)

    def json(self, line: str | list[str], **variables: str) -> Any:
        """Run a command with --json that must succeed; the document."""
        words = line.split() if isinstance(line, str) else line
        done = self.run([*words, "--json"], **variables)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
