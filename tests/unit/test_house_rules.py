"""Rules of the house that a look at the source can check; the import layers are checked by `make lint`.

Each rule is tried on a text that breaks it, too: a search that finds nothing any more would keep every promise.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gastown.api import reasons

ROOT = Path(__file__).parents[2]
SOURCES = (ROOT / "operator" / "gastown", ROOT / "gitops" / "gastown_git")
# What the operator process runs, front door included; the other daemons and the CLIs are their own writers, each with its own rights.
OPERATOR = ("actions.py", "api", "controllers", "decide", "kube", "processes/daemon.py", "processes/operator.py", "runtime")
WRITING_VERBS = frozenset({"create", "merge_patch", "json_patch", "apply", "delete"})
WRITERS = {"runtime/executor.py", "runtime/writer.py"}
KERNEL = "refinery/kernel.py"
REASONS = {name: value for name, value in vars(reasons).items() if name.isupper()}
# What carries a reason for machines, and at which position when it is not given by name.
PLACE_OF_REASON = {"Condition": 2, "Emit": 2, "Unsound": 0, "Verdict": 0, "Waiting": 0}

Finder = Callable[[ast.AST], Iterator[ast.AST]]


def python_files(folder: Path) -> list[Path]:
    """The folder's modules, or the module itself."""
    return [folder] if folder.is_file() else sorted(folder.rglob("*.py"))


def found_in(find: Finder, *folders: Path) -> dict[str, list[str]]:
    """Module (from its package on) -> the lines where `find` finds something."""
    assert folders
    found: dict[str, list[str]] = {}
    for path in (path for folder in folders for path in python_files(folder)):
        root = next(source for source in SOURCES if path.is_relative_to(source))
        for node in find(ast.parse(path.read_text())):
            found.setdefault(path.relative_to(root).as_posix(), []).append(f"line {getattr(node, 'lineno', 0)}: {ast.unparse(node)[:120]}")
    return found


def calls(node: ast.AST) -> Iterator[tuple[ast.Call, str, str]]:
    """All calls: the call, what it is called on as text ("" for a plain function), and the name called."""
    for call in (child for child in ast.walk(node) if isinstance(child, ast.Call)):
        if isinstance(call.func, ast.Attribute):
            yield call, ast.unparse(call.func.value), call.func.attr
        elif isinstance(call.func, ast.Name):
            yield call, "", call.func.id


def api_writes(node: ast.AST) -> Iterator[ast.AST]:
    return (call for call, receiver, name in calls(node) if name in WRITING_VERBS and receiver.lower().endswith("client"))


def moves_of_main(node: ast.AST) -> Iterator[ast.AST]:
    return (child for child in ast.walk(node) if isinstance(child, ast.Attribute) and child.attr == "move_protected_branch")


def shells(node: ast.AST) -> Iterator[ast.AST]:
    for call, _, name in calls(node):
        is_shell = any(
            word.arg == "shell" and not (isinstance(word.value, ast.Constant) and not word.value.value) for word in call.keywords
        )
        if (
            is_shell
            or name in {"create_subprocess_shell", "getoutput", "getstatusoutput"}
            or ast.unparse(call.func) in {"os.system", "os.popen"}
        ):
            yield call


def forced_references(node: ast.AST) -> Iterator[ast.AST]:
    for call, receiver, name in calls(node):
        is_create = name == "create_reference" or (name == "create" and receiver.endswith("references"))
        if is_create and (len(call.args) > 2 or any(word.arg in ("force", None) for word in call.keywords)):
            yield call


def unlisted_reasons(node: ast.AST) -> Iterator[ast.AST]:
    """Reasons that are spelled out, or named after a constant that does not exist."""
    for call, _, name in calls(node):
        position = PLACE_OF_REASON.get(name)
        if position is None:
            continue
        given = [*call.args[position : position + 1], *(word.value for word in call.keywords if word.arg == "reason")]
        for part in (part for value in given for part in ast.walk(value)):
            is_spelled = isinstance(part, ast.Constant) and part.value != ""
            is_unknown = isinstance(part, ast.Attribute) and ast.unparse(part.value) == "reasons" and part.attr not in REASONS
            if is_spelled or is_unknown:
                yield call


def test_in_the_operator_only_the_executor_writes_to_the_api_server() -> None:
    found = found_in(api_writes, *(SOURCES[0] / name for name in OPERATOR))
    assert found.keys() & WRITERS, "the executor's own writes were not found: has the client another name?"
    assert found.keys() <= WRITERS, found


def test_only_the_kernel_moves_a_protected_branch() -> None:
    assert found_in(moves_of_main, *SOURCES).keys() == {KERNEL}


@pytest.mark.parametrize("find", [pytest.param(shells, id="a shell"), pytest.param(forced_references, id="a reference by force")])
def test_nowhere_is_there(find: Finder) -> None:
    assert found_in(find, *SOURCES) == {}


def test_reasons_of_conditions_and_events_come_from_the_list() -> None:
    assert found_in(unlisted_reasons, *(SOURCES[0] / name for name in ("controllers", "decide", "processes"))) == {}


def test_reasons_are_camel_case_and_there_once() -> None:
    assert len(REASONS) == len(set(REASONS.values()))
    assert [value for value in REASONS.values() if not value[:1].isupper() or not value.isalnum()] == []


@pytest.mark.parametrize(
    ("find", "text"),
    [
        pytest.param(api_writes, "await self._client.merge_patch(BEAD, namespace, name, patch)", id="write by the client"),
        pytest.param(api_writes, "slots.run(lambda: client.create(kind, body))", id="write handed on as a function"),
        pytest.param(moves_of_main, "repository.refs.move_protected_branch(name, new=commit, expected=None)", id="move of main"),
        pytest.param(moves_of_main, "move = repository.refs.move_protected_branch", id="move of main under another name"),
        pytest.param(shells, "subprocess.run(command, shell=True)", id="shell"),
        pytest.param(shells, "subprocess.run(command, shell=wanted)", id="shell at will"),
        pytest.param(shells, "os.system(command)", id="system"),
        pytest.param(shells, "await asyncio.create_subprocess_shell(command)", id="shell in a coroutine"),
        pytest.param(forced_references, "repository.create_reference(name, commit, force=True)", id="force"),
        pytest.param(forced_references, "repository.references.create(name, commit, True)", id="force by position"),
        pytest.param(forced_references, "repository.create_reference(name, commit, **options)", id="force by whatever is in the options"),
        pytest.param(unlisted_reasons, "Condition(type=READY, reason='Fine')", id="reason spelled out"),
        pytest.param(
            unlisted_reasons, "Condition(type=READY, reason='Fine' if good else reasons.INVALID)", id="reason spelled out in part"
        ),
        pytest.param(unlisted_reasons, "Condition(type=READY, reason=reasons.FINE)", id="reason that is not in the list"),
        pytest.param(unlisted_reasons, "Emit(bead, NORMAL, 'Fine', text)", id="reason of an event spelled out"),
        pytest.param(unlisted_reasons, "Verdict('Fine', text, is_blocked=True)", id="reason of a verdict spelled out"),
    ],
)
def test_a_breach_is_found(find: Finder, text: str) -> None:
    assert list(find(ast.parse(text)))
