"""Between the API's words for gate results and git's evidence. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from gastown.api import conditions, gate_run, reasons
from gastown.api import merge_request as mr_api
from gastown.api.conditions import find_condition
from gastown.api.gate_run import GateRun, GateRunResult
from gastown.api.merge_request import MergeRequest, MergeRequestStatus
from gastown.api.names import gate_run_name
from gastown.decide.times import unix_seconds
from gastown.processes.refinery import statuses
from gastown_git.ref_names import ObjectId
from gastown_git.refinery import planner
from gastown_git.refinery.verdicts import Attempt, Evidence, GateResult, Verdict

_BY_REASON = {reasons.PASSED: Verdict.PASSED, reasons.FAILED: Verdict.FAILED}
_BY_WORD = {gate_run.VERDICT_PASSED: Verdict.PASSED, gate_run.VERDICT_FAILED: Verdict.FAILED}


def attempt_of(run: GateRun) -> Attempt | None:
    """The attempt a finished GateRun stands for; None while it runs. What neither passed nor failed is an error of the gate."""
    succeeded = find_condition(run.status.conditions, conditions.SUCCEEDED)
    if succeeded is None or succeeded.status == "Unknown":
        return None
    gates = tuple(_gate_result(result) for result in run.status.gates)
    return Attempt(
        number=run.spec.attempt,
        verdict=_BY_REASON.get(succeeded.reason, Verdict.ERROR),
        candidate=run.spec.candidate,
        base=run.spec.base,
        members=tuple(run.spec.members),
        gates=gates,
        start_time=unix_seconds(run.metadata.creationTimestamp) or 0.0,
        finish_time=unix_seconds(succeeded.lastTransitionTime) or 0.0,
    )


def results(evidence: Evidence | None) -> list[mr_api.GateResult]:
    """The gate results that decide: of the first green run, else of the last run."""
    if evidence is None or not evidence.attempts:
        return []
    green = [attempt for attempt in evidence.attempts if attempt.verdict is Verdict.PASSED]
    told = (green or [evidence.attempts[-1]])[0]
    return [
        mr_api.GateResult(
            name=gate.name,
            verdict=gate.verdict.value,
            exitCode=gate.exit_code if gate.exit_code is not None else -1,
            seconds=round(gate.seconds),
            logTail=gate.log_tail if gate.verdict is not Verdict.PASSED else "",
        )
        for gate in told.gates
    ]


def green_run_name(rig_name: str, digest: str, evidence: Evidence | None) -> str:
    """Name of the GateRun that was green first; "" if none was."""
    greens = [attempt.number for attempt in evidence.attempts if attempt.verdict is Verdict.PASSED] if evidence is not None else []
    return gate_run_name(rig_name, evidence.tree, digest, greens[0]) if greens and evidence is not None else ""


def turned_away(decision: planner.TurnAway, seen: MergeRequest, known: Mapping[ObjectId, Evidence], now_time: str) -> MergeRequestStatus:
    """The status of a MergeRequest the planner turned away, with the evidence a person or the next session needs."""
    if isinstance(decision, planner.ReturnConflict):
        found = decision.conflict
        files = list(found.files)[:200]
        conflict = mr_api.MergeConflict(base=decision.base, files=files, message=found.message)
        message = f"does not merge with {seen.spec.target} at {decision.base}: {', '.join(files) or found.message}"
        return statuses.over(seen, mr_api.PHASE_CONFLICTED, reasons.CONFLICTED, message, now_time, conflict=conflict)
    told = results(known.get(decision.tree))
    if isinstance(decision, planner.Hold):
        message = (
            f"the gates could not speak {decision.errors} times; look at gateResults, then annotate with gastown.dev/retry-requested-at"
        )
        return statuses.held(seen, reasons.GATE_ERROR, message, now_time)
    if isinstance(decision, planner.HoldForMain):
        message = (
            f"red, and so is {seen.spec.target} itself at {decision.base}; tried again when {seen.spec.target} has moved: repair it first"
        )
        return statuses.held(seen, reasons.GATE_FAILED, message, now_time)
    red = ", ".join(result.name for result in told if result.verdict == gate_run.VERDICT_FAILED)
    message = f"red alone on green {seen.spec.target} at {decision.base}, twice: {red}"
    return statuses.over(seen, mr_api.PHASE_REJECTED, reasons.REJECTED, message, now_time, results=told)


def _gate_result(result: GateRunResult) -> GateResult:
    start, finish = unix_seconds(result.startTime), unix_seconds(result.finishTime)
    return GateResult(
        name=result.name,
        verdict=_BY_WORD.get(result.verdict, Verdict.ERROR),
        exit_code=result.exitCode,
        seconds=finish - start if start is not None and finish is not None else 0.0,
        log_tail=result.logTail,
    )
