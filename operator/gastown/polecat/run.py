"""The life of one session, as the harness runs it: prepare, run the agent, keep its work, hand it in, say how it went."""

from __future__ import annotations

import contextlib
import queue
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gastown.api.bead import Bead
from gastown.kube.configuration import ConfigurationError, in_cluster
from gastown.kube.rest import Client
from gastown.polecat import result as results
from gastown.polecat import session as sessions
from gastown.polecat.adapters.base import Adapter, AgentRun
from gastown.polecat.adapters.registry import get_adapter
from gastown.polecat.agent_process import AgentProcess
from gastown.polecat.checkpoint import Checkpointer, restored_work
from gastown.polecat.context import Circumstances, render
from gastown.polecat.environment import agent_environment, write_files
from gastown.polecat.errors import Interrupted, Refused, SessionError, Unreachable
from gastown.polecat.gates import GateRed
from gastown.polecat.git import Git, GitError
from gastown.polecat.heartbeat import Heartbeat
from gastown.polecat.patience import Surroundings
from gastown.polecat.result import Result, find_result, to_json, write_termination_message
from gastown.polecat.session import Session
from gastown.polecat.stop import STOPPED_RESULT, StopSignal, Wake
from gastown.polecat.submit import Submission, read_bead, submit
from gastown.polecat.vitals import Vitals

# Together they fit into a grace period of 30 s, with the time to write the result.
AGENT_GRACE_SECONDS = 5.0
LAST_CHECKPOINT_SECONDS = 15.0
# After `gt done` an agent may say a last word.
AFTER_DONE_SECONDS = 10.0
LOOK_FOR_RESULT_SECONDS = 0.5
NUDGE_LIMIT = 2


@dataclass(slots=True)
class Life:
    """What the harness knows while an agent runs.

    Attributes:
        environment: Of the container.
        root: Process under which everything but the harness is the agent's: PID 1 of the pod.
        vitals: What the heartbeat tells; kept up to date here.
        started: On the monotonic clock.
        usage, exit_code: Of the runs so far.
    """

    session: Session
    bead: Bead
    client: Client
    adapter: Adapter
    stop: StopSignal
    environment: Mapping[str, str]
    root: int
    checkpointer: Checkpointer
    beat: Heartbeat
    vitals: Vitals
    started: float = field(default_factory=time.monotonic)
    usage: dict[str, int] = field(default_factory=dict)
    exit_code: int = 0


def run_session(environment: Mapping[str, str], root: int) -> int:
    """Run the session that the environment describes.

    Args:
        root: An ancestor of ours, or ourselves: when the agent has ended, everything else under it is killed.

    Returns:
        Exit code of the container: 0 unless the outcome is Failed.
    """
    log = sessions.termination_log(environment)
    stop = StopSignal(log)
    stop.listen()
    try:
        result = _prepare_and_work(environment, stop, root)
    except Exception as error:  # noqa: BLE001 - the last line of defence: whatever it is, the operator is told
        result = result_of(error)
    stop.ignore()
    say(f"session: {result.outcome}: {result.reason}: {results.shortened(result.message, 2000)}")
    write_termination_message(log, to_json(result))
    return 1 if result.outcome == results.FAILED else 0


def say(line: str) -> None:
    """One line of the harness in the container's log."""
    print(f"[gastown] {line}", file=sys.stderr, flush=True)


def result_of(error: Exception) -> Result:
    """The outcome that an error means: what a server's absence caused is handed on, not held against the agent."""
    if isinstance(error, (Unreachable, Interrupted)):
        return Result(outcome=results.HANDOFF, reason=error.reason, message=str(error))
    if isinstance(error, GateRed):
        return Result(outcome=results.FAILED, reason=error.reason, message=f"{error}\n{error.log_tail}")
    if isinstance(error, SessionError):
        return Result(outcome=results.FAILED, reason=error.reason, message=str(error))
    known = {GitError: "GitFailed", ConfigurationError: "NoApiAccess"}
    reason = known.get(type(error), "HarnessError")
    message = str(error) if type(error) in known else f"{type(error).__name__}: {error}"
    return Result(outcome=results.FAILED, reason=reason, message=message)


def circumstances(session: Session) -> Circumstances:
    """The session as its context tells it."""
    restored, notes = restored_work(Git(session.worktree))
    return Circumstances(
        actor=session.actor,
        namespace=session.namespace,
        rig=session.rig,
        agent=session.agent,
        branch=session.branch,
        target=session.target_branch,
        worktree=str(session.worktree),
        session=session.number,
        restored=restored,
        notes=notes,
        gates=session.gates,
    )


def submission(session: Session) -> Submission:
    """What is handed in at the end of the session."""
    return Submission(
        namespace=session.namespace,
        rig=session.rig,
        agent=session.agent,
        bead=session.bead,
        branch=session.branch,
        target=session.target_branch,
        worktree=session.worktree,
        gates=session.gates,
    )


def _prepare_and_work(environment: Mapping[str, str], stop: StopSignal, root: int) -> Result:
    session = sessions.from_environment(environment)
    if before := find_result(session.result_file):
        return before  # the container was started again after `gt done`
    adapter = get_adapter(session.adapter)
    vitals = Vitals(root, session.pod_uid, lambda words: _hear_nudge(session, stop, words))
    beat = Heartbeat(session, lambda: _connect(environment), say, vitals)
    beat.start()
    try:
        client = _connect(environment)
        bead = read_bead(session.namespace, session.bead, Surroundings(client, say, stop.requested, sleep=stop.nap))
        if bead.spec.assignee != session.agent:
            happened = f"is on the hook of {bead.spec.assignee or 'nobody'}, not of {session.agent}"
            raise Refused(f"bead {session.bead}", happened, reason="NotAssigned")
        checkpointer = Checkpointer(session, Git(session.worktree, is_interrupted=stop.requested))
        life = Life(session, bead, client, adapter, stop, environment, root, checkpointer, beat, vitals)
        result = _work(life)
        usage = {**life.usage, "wallSeconds": int(time.monotonic() - life.started)}
        return replace(result, usage=usage, exit_code=life.exit_code)
    finally:
        beat.stop()


def _hear_nudge(session: Session, stop: StopSignal, words: str) -> None:
    """In the heartbeat's thread: tell the log, the agent if it looks, and the loop that watches the agent."""
    say(f"nudged: {words}")
    with contextlib.suppress(OSError):
        session.nudge_file.write_text(f"{words}\n", encoding="utf-8")
    stop.events.put(Wake.NUDGED)


def _connect(environment: Mapping[str, str]) -> Client:
    return Client(in_cluster(environment), user_agent="gastown-polecat")


def _work(life: Life) -> Result:
    """Run the agent, and again with a nudge where its adapter can, until its work is handed in or it has failed."""
    session = life.session
    context = render(life.bead, circumstances(session))
    write_files(session, life.bead, context)
    around = Surroundings(life.client, say, life.stop.requested, sleep=life.stop.nap)
    nudge, session_id = "", ""
    for attempt in range(NUDGE_LIMIT + 1):
        agent = _start_agent(life, context, session_id, nudge)
        if ended := _end_agent(life, agent, _watch(life, agent)):
            return ended
        try:
            return submit(submission(session), around)
        except (SessionError, GitError) as error:
            refusal = result_of(error)
            if not isinstance(error, Refused) or not life.adapter.is_resumable or attempt == NUDGE_LIMIT:
                return _kept(life, refusal)
            nudge, session_id = refusal.message, agent.session_id
    raise AssertionError("the last attempt returns")


def _start_agent(life: Life, context: str, session_id: str, nudge: str) -> AgentProcess:
    session = life.session
    run = AgentRun(
        command=session.agent_command,
        model=session.model,
        context=context,
        worktree=session.worktree,
        home=session.home,
        resume_session_id=session_id,
        nudge=nudge,
    )
    invocation = life.adapter.invocation(run)
    say(f"session {session.number} of {session.actor} on {session.bead}: {life.adapter.name}: {invocation.arguments[0]}")
    environment = agent_environment(session, life.bead, life.environment)
    try:
        return AgentProcess(
            invocation, life.adapter.parser(), session.worktree, environment, life.vitals.printed, lambda: life.stop.events.put(Wake.EXITED)
        )
    except OSError as error:
        raise Refused(
            "the agent's profile",
            f"{invocation.arguments[0]} can not be started: {error}",
            remedy="set AgentProfile.spec.command to a program of the session image",
            reason="CannotStart",
        ) from error


def _watch(life: Life, agent: AgentProcess) -> Wake:
    """Wait for the first thing that ends the agent's run; keep its work meanwhile."""
    session = life.session
    every = session.checkpoint_seconds or float("inf")
    deadline = life.started + (session.timeout_seconds or float("inf"))
    next_checkpoint = time.monotonic() + every
    while (now := time.monotonic()) < deadline:
        if now >= next_checkpoint:
            _checkpoint(life)
            next_checkpoint = time.monotonic() + every
        try:
            wake = life.stop.events.get(timeout=max(0.0, min(LOOK_FOR_RESULT_SECONDS, deadline - now, next_checkpoint - now)))
        except queue.Empty:
            if session.result_file.exists():
                return Wake.DONE
            continue
        if wake is Wake.NUDGED:
            _checkpoint(life)  # whoever is nudged may be replaced next
            continue
        if wake is not Wake.EXITED or agent.has_ended():  # the end of an earlier run may still be in the queue
            return wake
    return Wake.TIMEOUT


def _end_agent(life: Life, agent: AgentProcess, wake: Wake) -> Result | None:
    """End the run and judge it; None when the agent ended well and its work is still to be handed in."""
    if wake is Wake.DONE:
        with contextlib.suppress(queue.Empty):
            wake = life.stop.events.get(timeout=AFTER_DONE_SECONDS)
    if wake is not Wake.EXITED:
        agent.end(AGENT_GRACE_SECONDS)
    terminal, life.exit_code = agent.verdict(life.root)
    for name, count in agent.usage.items():
        life.usage[name] = life.usage.get(name, 0) + count
    if done := find_result(life.session.result_file):
        return done
    if wake is Wake.STOPPED or life.stop.requested():
        return _kept(life, STOPPED_RESULT)
    if wake is Wake.TIMEOUT:
        message = f"no end within {life.session.timeout_seconds} s; last lines:\n{agent.last_lines()}"
        return _kept(life, Result(outcome=results.FAILED, reason="SessionTimeout", message=message))
    if not terminal.ok:
        message = f"{terminal.message}; last lines:\n{agent.last_lines()}"
        return _kept(life, Result(outcome=results.FAILED, reason=terminal.reason, message=message))
    return None


def _kept(life: Life, result: Result) -> Result:
    """The result with a last checkpoint; one that can not be made is told, and changes no outcome."""
    # A Git of its own: this one must not be ended by the stop that it is made for. All else goes on from the periodic one, so that what
    # is kept already is not pushed again.
    last = replace(
        life.checkpointer, git=Git(life.session.worktree), push_seconds=LAST_CHECKPOINT_SECONDS, local_seconds=LAST_CHECKPOINT_SECONDS
    )
    try:
        kept = last.take()
    except (GitError, OSError) as error:
        say(f"checkpoint: {error}")
        message = f"{result.message}\nthe last checkpoint could not be kept: {error}"
        return replace(result, checkpoint=life.checkpointer.pushed, message=message)
    left = f"\nleft out of the checkpoint: {', '.join(kept.left_out[:20])}" if kept.left_out else ""
    return replace(result, checkpoint=kept.commit, message=result.message + left)


def _checkpoint(life: Life) -> None:
    try:
        kept = life.checkpointer.take()
    except (GitError, OSError) as error:
        say(f"checkpoint: {error}; tried again in {life.session.checkpoint_seconds} s")
    except Interrupted:
        pass  # the stop is in the queue, and makes a last one
    else:
        say(f"checkpoint: {kept.commit[:12] or 'nothing to keep'}")
        if kept.commit not in ("", life.vitals.checkpoint):
            life.vitals.checkpoint = kept.commit
            life.beat.beat_now()
