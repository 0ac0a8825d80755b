"""Where a local town keeps everything: one folder per town name, so that several towns run beside each other."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gastown.local.errors import LocalTownError

DEFAULT_TOWN = "default"
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")
# Another `gt up` may be building the programs meanwhile.
_LOCK_SECONDS = 1800.0
# The town's keeper holds it for a moment now and then; that is nothing to tell a person.
_TOLD_AFTER_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class TownDirectory:
    """Paths of one town. Everything in it is the user's alone (mode 0700): keys, data, logs.

    Attributes:
        name: Of the town; part of its node's name.
        root: The folder; its path must not change while the town runs.
    """

    name: str
    root: Path

    @property
    def node_name(self) -> str:
        """Name of the town's only node; no other town of this machine has it, since the pods' addresses follow from it."""
        return f"gastown-{self.name}-{hashlib.sha256(str(self.root).encode()).hexdigest()[:4]}"

    @property
    def etcd_data(self) -> Path:
        """etcd's database: every object of the town."""
        return self.root / "etcd"

    @property
    def certificates(self) -> Path:
        """Authorities, certificates, keys."""
        return self.root / "certificates"

    @property
    def kubeconfigs(self) -> Path:
        """One kubeconfig per identity."""
        return self.root / "kubeconfigs"

    @property
    def admin_kubeconfig(self) -> Path:
        """What the user exports as KUBECONFIG."""
        return self.kubeconfigs / "admin.yaml"

    @property
    def logs(self) -> Path:
        """Output of each process, by name."""
        return self.root / "logs"

    @property
    def run(self) -> Path:
        """A record of each running process."""
        return self.root / "run"

    @property
    def configuration(self) -> Path:
        """Files made for the processes: audit policy, node configuration, chart values."""
        return self.root / "configuration"

    @property
    def ports(self) -> Path:
        """The ports chosen once."""
        return self.root / "ports.json"

    @property
    def upstreams(self) -> Path:
        """Bare repositories that a Rig may name as file:// upstream."""
        return self.root / "upstreams"

    @property
    def node(self) -> Path:
        """The process node's own state."""
        return self.root / "node"

    @property
    def volumes(self) -> Path:
        """PersistentVolumes: the rigs' repositories live here."""
        return self.root / "volumes"

    def log_of(self, process: str) -> Path:
        """The log file of a process."""
        return self.logs / f"{process}.log"

    def create(self) -> None:
        """Make the folders that are missing and close them to other users.

        Raises:
            LocalTownError: They can not be made.
        """
        for folder in (
            self.root,
            self.etcd_data,
            self.certificates,
            self.kubeconfigs,
            self.logs,
            self.run,
            self.configuration,
            self.upstreams,
            self.node,
            self.volumes,
        ):
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                folder.chmod(0o700)
            except OSError as error:
                raise LocalTownError(
                    f"town {self.name}: can not make {folder}: {error.strerror}; set XDG_STATE_HOME to a folder that you may write"
                ) from error

    @contextmanager
    def lock(self, report: Callable[[str], None]) -> Iterator[None]:
        """Keep other callers of up and down away from this town; the kernel frees it when the caller dies.

        Raises:
            LocalTownError: Somebody else has had it for half an hour.
        """
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.root / "lock").open("w") as file:
            _wait_for_lock(file.fileno(), self, report)
            yield


def town_directory(name: str = DEFAULT_TOWN, environment: Mapping[str, str] = os.environ) -> TownDirectory:
    """The folder of a town, below $XDG_STATE_HOME/gastown (~/.local/state/gastown).

    Raises:
        LocalTownError: The name is not a DNS label of at most 40 characters; it becomes part of the node's name.
    """
    if not _NAME.fullmatch(name):
        raise LocalTownError(f"town name {name!r}: use 1 to 40 lower-case letters, digits and dashes, such as {DEFAULT_TOWN}")
    state_home = environment.get("XDG_STATE_HOME", "")
    # The XDG rules: a relative path in the variable is to be ignored.
    base = Path(state_home) if state_home.startswith("/") else Path.home() / ".local" / "state"
    return TownDirectory(name, base / "gastown" / name)


def _wait_for_lock(descriptor: int, directory: TownDirectory, report: Callable[[str], None]) -> None:
    begin = time.monotonic()
    told = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waited = time.monotonic() - begin
            if waited > _LOCK_SECONDS:
                raise LocalTownError(
                    f"town {directory.name}: another gt up or gt down has held {directory.root / 'lock'} for "
                    f"{_LOCK_SECONDS / 60:.0f} minutes; end it, then try again"
                ) from None
            if not told and waited > _TOLD_AFTER_SECONDS:
                report(f"waiting for another gt up or gt down of town {directory.name}")
                told = True
            time.sleep(0.1)
        else:
            return
