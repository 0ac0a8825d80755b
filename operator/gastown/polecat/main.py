"""`gastown-polecat`: checkout (init step), run (PID 1 of a session), gate-source (init step of a gate Job), credential (git's helper)."""

from __future__ import annotations

import os
import signal
import sys

USAGE = """\
usage: gastown-polecat checkout | run | gate-source | credential --token-file FILE get

  checkout     fetch the rig and add the worktree of this session, then exit
  run          run the agent in it as PID 1 and report how it went
  gate-source  download and verify the tree that a gate tests
  credential   git credential helper: the token in FILE, read at each use

They read the GASTOWN_* environment that the operator gives to session pods and gate Jobs.
Example: GASTOWN_AGENT=greeter-furiosa GASTOWN_BEAD=gp-a3f8 ... gastown-polecat checkout
"""


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand.

    Returns:
        Exit code: 0, 1 when it failed (the reason is in the termination message too), 2 for wrong usage.
    """
    words = sys.argv[1:] if arguments is None else arguments
    command = words[0] if words else ""
    if command == "credential":
        from gastown.polecat import credential

        return credential.main(words[1:])
    if command in ("-h", "--help", "help"):
        print(USAGE, end="")
        return 0
    if len(words) != 1 or command not in ("checkout", "run", "gate-source"):
        print(USAGE, end="", file=sys.stderr)
        return 2
    return _run() if command == "run" else _init_step(command)


def _run() -> int:
    from gastown.polecat.init import supervise
    from gastown.polecat.session import termination_log

    return supervise(_harness, termination_log(os.environ))


def _harness() -> int:
    # Imported in the child only: PID 1 stays small.
    from gastown.polecat.run import run_session

    return run_session(os.environ, root=os.getppid())


def _init_step(command: str) -> int:
    from gastown.polecat.result import write_termination_message
    from gastown.polecat.session import termination_log

    # PID 1 has no default action for SIGTERM: without this, stopping the pod would wait for the whole grace period.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))
    try:
        print(_do(command), flush=True)
    except Exception as error:  # noqa: BLE001 - whatever it is belongs into the termination message
        print(f"{command}: {error}", file=sys.stderr, flush=True)
        write_termination_message(termination_log(os.environ), f"{command}: {error}".encode("utf-8", "replace"))
        return 1
    return 0


def _do(command: str) -> str:
    if command == "gate-source":
        from gastown.polecat.gate_source import fetch_gate_source

        return f"gate-source: {fetch_gate_source(os.environ)}"
    from gastown.polecat import session
    from gastown.polecat.checkout import checkout, describe

    here = session.from_environment(os.environ)
    return describe(here, checkout(here))


if __name__ == "__main__":
    sys.exit(main())
