"""What of the host a container will see: the plan, before any mount is made."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from gastown.local.node.mounts import Bind, plan_root


@pytest.fixture
def scratch(tmp_path: Path) -> str:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return str(folder)


def targets(plan: dict[str, Any]) -> list[str]:
    return [target for _, _, target, _ in plan["mounts"]]


def test_the_top_level_is_bound_and_links_stay_links(scratch: str) -> None:
    skeleton = plan_root([], [], [], scratch)["skeleton"]
    kinds = {path: kind for kind, path, _ in skeleton}
    assert kinds["/usr"] == "bind-directory"
    assert (kinds["/proc"], kinds["/dev"]) == ("directory", "directory")
    for name in os.listdir("/"):  # noqa: PTH208 - names, as the plan has them
        if os.path.islink(f"/{name}"):  # noqa: PTH114
            assert kinds[f"/{name}"] == "link"


def test_tmp_and_run_always_get_an_empty_stand_in(scratch: str) -> None:
    plan = plan_root([], [], [], scratch)
    for _, source, target, read_only in plan["mounts"]:
        assert source.startswith(scratch)
        assert not read_only
        assert list(Path(source).iterdir()) == []
        assert target in ("/tmp", "/var/tmp", "/run")
    assert {"/tmp", "/run"} <= set(targets(plan))


def test_a_new_mount_point_at_the_top_is_made_without_copying_anything_else(scratch: str, tmp_path: Path) -> None:
    plan = plan_root([Bind("/workspace", str(tmp_path), read_only=False)], [], [], scratch)
    assert ("directory", "/workspace", "") in plan["skeleton"]
    assert "/usr/bin" not in [path for _, path, _ in plan["skeleton"]]


def test_a_mount_point_missing_below_a_host_directory_rebuilds_only_the_way_to_it(scratch: str, tmp_path: Path) -> None:
    plan = plan_root([Bind("/usr/share/gastown-test/data", str(tmp_path), read_only=False)], [], [], scratch)
    kinds = {path: kind for kind, path, _ in plan["skeleton"]}
    assert kinds["/usr"] == kinds["/usr/share"] == kinds["/usr/share/gastown-test"] == kinds["/usr/share/gastown-test/data"] == "directory"
    assert kinds["/usr/bin"] == "bind-directory"
    assert "/usr/bin/env" not in kinds


def test_paths_are_made_after_their_parents(scratch: str, tmp_path: Path) -> None:
    plan = plan_root([Bind("/a/b/c", str(tmp_path), read_only=False), Bind("/a/b/d", str(tmp_path), read_only=False)], [], [], scratch)
    order = [path for _, path, _ in plan["skeleton"]]
    for path in order:
        parent = str(Path(path).parent)
        assert parent == "/" or order.index(parent) < order.index(path)


def test_a_path_through_a_link_is_followed(scratch: str, tmp_path: Path) -> None:
    if not Path("/var/run").is_symlink():
        pytest.skip("/var/run is no link here")
    plan = plan_root([Bind("/var/run/secrets/token", str(tmp_path), read_only=True)], [], [], scratch)
    assert "/run/secrets/token" in targets(plan)


def test_what_is_visible_shows_through_a_cover_read_only_and_on_top_of_it(scratch: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "venv" / "bin").mkdir(parents=True)
    (home / "secret").touch()
    plan = plan_root([], [str(home)], [str(home / "venv")], scratch)
    order = targets(plan)
    # tmp_path lies below /tmp, which is covered itself: then the inner cover is needed only if something visible encloses it.
    assert str(home / "venv") in order
    assert str(home / "secret") not in order
    shown = next(mount for mount in plan["mounts"] if mount[2] == str(home / "venv"))
    assert shown[1:] == (str(home / "venv"), str(home / "venv"), True)
    assert order.index("/tmp") < order.index(str(home / "venv"))


def test_a_cover_inside_something_visible_is_kept(scratch: str, tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    (checkout / "state").mkdir(parents=True)
    plan = plan_root([], [str(checkout / "state")], [str(checkout)], scratch)
    order = targets(plan)
    assert order.index(str(checkout)) < order.index(str(checkout / "state"))
    assert next(mount for mount in plan["mounts"] if mount[2] == str(checkout / "state"))[1].startswith(scratch)


def test_a_volume_hides_what_would_be_visible_below_it(scratch: str, tmp_path: Path) -> None:
    visible = tmp_path / "tools"
    visible.mkdir()
    plan = plan_root([Bind(str(tmp_path), str(tmp_path), read_only=False)], [], [str(visible)], scratch)
    assert str(visible) not in targets(plan)


def test_volumes_inside_volumes_are_mounted_after_them(scratch: str, tmp_path: Path) -> None:
    inner, outer = Bind("/w/x/y", str(tmp_path), read_only=False), Bind("/w", str(tmp_path), read_only=False)
    order = targets(plan_root([inner, outer], [], [], scratch))
    assert order.index("/w") < order.index("/w/x/y")


def test_what_is_covered_in_dev_is_left_to_the_fresh_dev(scratch: str) -> None:
    assert not any(target.startswith("/dev") for target in targets(plan_root([], ["/dev/shm"], [], scratch)))


def test_paths_that_are_not_there_are_passed_over(scratch: str) -> None:
    plan = plan_root([], ["/no/such/home"], ["/no/such/tools"], scratch)
    assert not any("such" in target for target in targets(plan))


def test_the_interpreter_can_be_shown_below_a_cover(scratch: str) -> None:
    plan = plan_root([], [str(Path(sys.base_prefix).parent)], [sys.base_prefix], scratch)
    assert any(target == os.path.realpath(sys.base_prefix) and read_only for _, _, target, read_only in plan["mounts"])
