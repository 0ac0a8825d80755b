"""Plays the API server and the operator for a merge queue: keeps the objects, verifies, gives verdicts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from gastown.actions import Create, Delete
from gastown.api import conditions, reasons
from gastown.api.codec import from_dict
from gastown.api.gate_run import GateRun, GateRunResult
from gastown.api.merge_request import MergeRequest, MergeRequestSpec
from gastown.api.meta import Condition, ObjectMeta
from gastown.api.names import merge_request_name
from gastown.api.rig import Gate, Rig, RigSpec
from gastown.decide.times import time_text
from gastown.processes.refinery.rig_queue import Look, MergeQueue, Seen
from gastown_git.repository import Repository
from support.git_builder import NOON

GATE = Gate(name="unit-tests", command=["true"])


class QueueTown:
    """One rig with its merge requests and gate runs.

    Args:
        repository: The rig's, adopted.
    """

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self.rig = Rig(metadata=ObjectMeta(name="greeter", namespace="town", generation=1), spec=RigSpec(prefix="gr", gates=[GATE]))
        self.requests: dict[str, MergeRequest] = {}
        self.gate_runs: dict[str, GateRun] = {}
        self.is_stopped = False
        self.now = float(NOON)
        self.queue = self.restarted()

    def restarted(self) -> MergeQueue:
        """A refinery that remembers nothing."""
        self.queue = MergeQueue(self.repository, lambda tree: f"http://repo.invalid/{tree}.tar")
        return self.queue

    def submit(self, bead: str, head: str, *, agent: str = "greeter-furiosa", push: bool = True, priority: int = 2) -> str:
        """What a session does: push its branch, then create a MergeRequest; returns its name."""
        branch = f"polecat/{agent}/{bead}"
        ref = f"refs/heads/{branch}"
        if push:
            before = self.repository.refs.find(ref)
            if before is None:
                self.repository.refs.create(ref, head)
            else:
                self.repository.refs.update(ref, new=head, expected=before)
        name = merge_request_name(bead, head)
        self.now += 1
        metadata = ObjectMeta(name=name, namespace="town", generation=1, creationTimestamp=time_text(self.now))
        spec = MergeRequestSpec(rigName="greeter", beadName=bead, agentName=agent, head=head, branch=branch, priority=priority)
        self.requests[name] = MergeRequest(metadata=metadata, spec=spec)
        return name

    def look(self) -> Look:
        """Let the refinery look once and keep what it says."""
        self.now += 1
        seen = Seen(self.rig, list(self.requests.values()), list(self.gate_runs.values()), self.is_stopped, 3600)
        look = self.queue.look(seen, self.now)
        for name, status in look.told.items():
            self.requests[name] = replace(self.requests[name], status=status)
        for action in look.actions:
            if isinstance(action, Create) and isinstance(action.object, dict):
                run = from_dict(GateRun, action.object)
                metadata = replace(run.metadata, creationTimestamp=time_text(self.now), uid=run.metadata.name)
                self.gate_runs.setdefault(run.metadata.name, replace(run, metadata=metadata))
            elif isinstance(action, Delete):
                self.gate_runs.pop(action.name, None)
        return look

    def verify(self, name: str, status: str = "True", reason: str = reasons.VERIFIED) -> None:
        """What the operator says."""
        self.requests[name] = _with(self.requests[name], conditions.VERIFIED, status, reason, self.now)

    def running(self) -> list[GateRun]:
        """GateRuns without a verdict."""
        return [run for run in self.gate_runs.values() if conditions.find_condition(run.status.conditions, conditions.SUCCEEDED) is None]

    def finish(self, run: GateRun, reason: str, log: str = "") -> None:
        """Give a verdict: Passed, Failed, or anything else for an error."""
        word = {reasons.PASSED: "Passed", reasons.FAILED: "Failed"}.get(reason, "Error")
        result = GateRunResult(name=GATE.name, verdict=word, exitCode=0 if word == "Passed" else 1, logTail=log)
        told = _with(run, conditions.SUCCEEDED, "True" if word == "Passed" else "False", reason, self.now)
        self.gate_runs[run.metadata.name] = replace(told, status=replace(told.status, gates=[result]))

    def settle(self, verdict: Callable[[GateRun], str] = lambda _: reasons.PASSED, rounds: int = 60) -> None:
        """Look, verify and gate until nothing changes any more.

        Args:
            verdict: GateRun -> reason of its end.
        """
        for _ in range(rounds):
            before = (dict(self.requests), dict(self.gate_runs))
            self.look()
            for name, mr in self.requests.items():
                found = mr.status.conditions
                if conditions.is_true(found, conditions.HEAD_PINNED) and not conditions.find_condition(found, conditions.VERIFIED):
                    self.verify(name)
            for run in self.running():
                self.finish(run, verdict(run))
            if (self.requests, self.gate_runs) == before:
                return
        raise AssertionError(f"no rest after {rounds} rounds: {[mr.status.phase for mr in self.requests.values()]}")

    def phase(self, name: str) -> str:
        """Phase of a merge request."""
        return self.requests[name].status.phase


def _with(value: Any, type_: str, status: str, reason: str, now: float) -> Any:
    told = Condition(type=type_, status=status, reason=reason, message=reason)
    return replace(value, status=replace(value.status, conditions=conditions.with_condition(value.status.conditions, told, time_text(now))))
