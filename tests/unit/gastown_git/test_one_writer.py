"""One writer per fact, checked in the source: who may move a protected branch, start a process, or use a banned call."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import gastown
import gastown_git

_PACKAGES = [Path(next(iter(package.__path__))) for package in (gastown_git, gastown)]


@functools.cache
def calls() -> list[tuple[str, str, ast.Call]]:
    return list(_calls())


def _calls() -> Iterator[tuple[str, str, ast.Call]]:
    """Every call in the product: (module below its package's root, name of what is called, the call)."""
    for package in _PACKAGES:
        for path in package.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call):
                    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                    yield str(path.relative_to(package.parent)), name, node


def callers(name: str) -> set[str]:
    return {module for module, called, _ in calls() if called == name}


def test_only_the_kernel_moves_a_protected_branch() -> None:
    assert callers("move_protected_branch") == {"gastown_git/refinery/kernel.py"}


def test_refs_are_moved_in_one_module_and_by_compare_and_swap() -> None:
    assert callers("set_target") == {"gastown_git/refs.py"}
    for banned in ("create_reference", "create_reference_direct", "create_reference_symbolic", "create_branch"):
        assert callers(banned) == set(), f"{banned} checks before it locks, or not at all: use RefStore"


def test_commits_are_made_without_moving_a_ref_on_the_way() -> None:
    firsts = [call.args[0] for module, name, call in calls() if name == "create_commit" and module.startswith("gastown_git/")]
    assert firsts
    assert all(isinstance(first, ast.Constant) and first.value is None for first in firsts)


def test_git_children_start_in_two_places_only_and_never_through_a_shell() -> None:
    starters = {
        module for name in ("Popen", "create_subprocess_exec", "run") for module in callers(name) if module.startswith("gastown_git/")
    }
    starters -= {module for module in starters if "subprocess" not in (_PACKAGES[0].parent / module).read_text()}
    assert starters == {"gastown_git/git_process.py", "gastown_git/server/backend.py"}
    for module, name, call in calls():
        assert name != "create_subprocess_shell", module
        shell = [keyword.value for keyword in call.keywords if keyword.arg == "shell"]
        assert not any(isinstance(value, ast.Constant) and value.value is True for value in shell), module


def test_no_update_ref_through_the_git_program() -> None:
    words = {
        node.value
        for package in _PACKAGES[:1]
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert not words & {"update-ref", "--prune=now", "symbolic-ref"}


def test_gastown_git_knows_neither_kubernetes_nor_gastown() -> None:
    imported = {
        name.partition(".")[0]
        for path in _PACKAGES[0].rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert not imported & {"gastown", "kubernetes", "kopf", "msgspec"}


def test_the_planner_and_the_access_rules_are_pure() -> None:
    for module in ("refinery/planner.py", "refinery/verdicts.py", "server/access.py", "server/receive_pack.py", "ref_names.py"):
        imported = {
            name
            for node in ast.walk(ast.parse((_PACKAGES[0] / module).read_text()))
            for name in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
        }
        assert not imported & {"os", "time", "random", "logging", "asyncio", "subprocess", "pygit2", "aiohttp", "pathlib"}, module
