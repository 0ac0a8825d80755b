"""Runs one command of `gt` or `bd`: finds it by its words, imports only its module, and turns every error into text and exit code."""

from __future__ import annotations

import argparse
import importlib
import io
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from gastown.cli import errors, output


@dataclass(frozen=True, slots=True)
class Command:
    """A row of a program's table.

    Attributes:
        words: Such as "convoy status".
        module: Imported when called; see CommandModule.
    """

    words: str
    module: str
    summary: str


class CommandModule(Protocol):
    """What the module of a command holds; its docstring is the description."""

    EXAMPLE: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare flags and positional arguments."""

    def run(self, options: argparse.Namespace) -> int:
        """Do it and return the exit code, or raise what `errors.translated` knows."""
        ...


def main(program: str, summary: str, commands: Sequence[Command], arguments: Sequence[str]) -> int:
    """Run a program.

    Args:
        program: As typed.
        arguments: Without the program's name.

    Returns:
        Exit code, see `errors.EXIT_CODES`.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that has no pictures is no reason to fail
    command = _find(commands, arguments)
    if command is None:
        return run_reporting(lambda: _help(program, summary, commands, arguments), as_json=False)
    module = cast("CommandModule", importlib.import_module(command.module))
    parser = _parser(program, command, module)
    try:
        options = parser.parse_args(list(arguments[len(command.words.split()) :]))
    except SystemExit as leaving:  # argparse has printed what it had to say
        return leaving.code if isinstance(leaving.code, int) else errors.USAGE
    return run_reporting(lambda: module.run(options), as_json=bool(getattr(options, "json", False)))


def run_reporting(run: Callable[[], int], *, as_json: bool) -> int:
    """Run something and turn its errors into text and exit code."""
    try:
        code = run()
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough (`| head`); without a stdout Python does not complain about it at exit.
        sys.stdout = None
        return errors.OK
    except KeyboardInterrupt:
        return errors.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - `translated` raises again what it does not know
        failed = errors.translated(error)
        output.print_error(failed, as_json=as_json)
        return failed.exit_code
    return code


def _find(commands: Sequence[Command], arguments: Sequence[str]) -> Command | None:
    for command in commands:
        words = command.words.split()
        if list(arguments[: len(words)]) == words:
            return command
    return None


def _parser(program: str, command: Command, module: CommandModule) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"{program} {command.words}",
        description=module.__doc__,
        epilog=f"example:\n{_indented(module.EXAMPLE)}\n{output.JSON_HELP}\n{errors.EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    return parser


def _help(program: str, summary: str, commands: Sequence[Command], arguments: Sequence[str]) -> int:
    words = [word for word in arguments if word not in ("-h", "--help", "help")]
    shown = [command for command in commands if command.words.split()[: len(words)] == words]
    if len(words) == len(arguments) > 0 or not shown:
        print(f"error: {program} {' '.join(words[:2])}: {_no_such_command(program, commands, shown, words)}", file=sys.stderr)
        return errors.USAGE
    width = max(len(command.words) for command in shown)
    print(f"{summary}\n\nusage: {program} COMMAND [arguments]; {program} COMMAND --help shows an example\n")
    for command in shown:
        print(f"  {command.words.ljust(width)}  {command.summary}")
    print(f"\n{errors.EXIT_CODES}", end="")
    return errors.OK


def _no_such_command(program: str, commands: Sequence[Command], begun: Sequence[Command], words: Sequence[str]) -> str:
    if begun:
        return f"one word is missing; use one of: {', '.join(command.words for command in begun)}"
    import difflib

    close = difflib.get_close_matches(" ".join(words[:2]), [command.words for command in commands], n=1)
    close = close or difflib.get_close_matches(words[0], [command.words for command in commands], n=1)
    return f"no such command; did you mean {program} {close[0]}?" if close else f"no such command; see {program} --help"


def _indented(text: str) -> str:
    return "".join(f"  {line}\n" for line in text.strip().splitlines())
