"""Between the API's words for gate results and git's evidence. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from gastown.api import conditions, gate_run, reasons
from gastown.api import merge_request as mr_api
from gastown.api.conditions import find_condition
from gastown.api.gate_run import GateRun, GateRunResult
from gastown.api.merge_request import MergeRequest, MergeRequestStatus
from gastown.api.names import gate_run_name
from gastown.decide.times import unix_seconds
from gastown.processes.refinery import statuses
from gastown_git.conflict_hunks import shown
from gastown_git.ref_names import ObjectId
from gastown_git.refinery import planner
from gastown_git.refinery.verdicts import Attempt, Evidence, GateResult, Verdict

# As the CRD bounds them, and how many files a message names, so that there is room for what to do.
FILES_LIMIT = 200
PATH_LIMIT = 1024
HUNK_LIMIT = 4096
NAMED_FILES = 10
NAMED_CHARACTERS = 200

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
    """The gate results that decide: of the first green run, else of the last red one, else of the last."""
    told = _deciding(evidence)
    if told is None:
        return []
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


def turned_away(
    decision: planner.TurnAway, seen: MergeRequest, main: ObjectId, known: Mapping[ObjectId, Evidence], now_time: str
) -> MergeRequestStatus:
    """The status of a MergeRequest the planner turned away, with the evidence a person or the next session needs.

    Args:
        main: Tip of the target. The candidate was stacked on its anchor, which has the same tree but is in nobody's log.
    """
    match decision:
        case planner.ReturnConflict():
            return _conflicted(decision, seen, main, now_time)
        case planner.Reject():
            return _rejected(seen, main, known.get(decision.tree), now_time)
        case planner.Hold():
            message = (
                f"the gates could not speak {decision.errors} times; look at gateResults, then annotate with gastown.dev/retry-requested-at"
            )
            return statuses.held(seen, reasons.GATE_ERROR, message, now_time)
        case planner.HoldForMain():
            target = seen.spec.target
            message = f"red, and so is {target} itself at {main}; tried again when {target} has moved: repair it first"
            return statuses.held(seen, reasons.GATE_FAILED, message, now_time)


def _conflicted(decision: planner.ReturnConflict, seen: MergeRequest, main: ObjectId, now_time: str) -> MergeRequestStatus:
    target, head, found = seen.spec.target, seen.spec.head, decision.conflict
    files = [shown(path)[:PATH_LIMIT] for path in found.files[:FILES_LIMIT]]
    # Git labels the sides with the ids it was given; of those the anchor means nothing to anybody.
    named = {decision.base: target, head: head[:12]}
    hunks = [
        # The name of a branch may be longer than the id it stands for, which may stand in the file as often as somebody likes.
        mr_api.ConflictHunk(file=shown(hunk.file)[:PATH_LIMIT], line=hunk.line, text=_renamed(hunk.text, named)[:HUNK_LIMIT])
        for hunk in found.hunks
    ]
    words = "\n".join(shown(line) for line in _renamed(found.message, named).split("\n"))[: conditions.MESSAGE_LIMIT]
    conflict = mr_api.MergeConflict(base=main, files=files, hunks=hunks, message=words)
    told = f"in {_listed(files, len(found.files))}; {_remedy(target)}" if files else words
    message = f"{head[:12]} does not merge with {target} at {main[:12]}{' ' if files else ': '}{told}"
    return statuses.over(seen, mr_api.PHASE_CONFLICTED, reasons.CONFLICTED, message, now_time, conflict=conflict)


def _rejected(seen: MergeRequest, main: ObjectId, evidence: Evidence | None, now_time: str) -> MergeRequestStatus:
    told = results(evidence)
    red = ", ".join(f"{gate.name} (exit code {gate.exitCode})" for gate in told if gate.verdict == gate_run.VERDICT_FAILED)
    target = seen.spec.target
    message = f"red alone on green {target} at {main[:12]}, {planner.STRIKES} times: {red} with {seen.spec.head[:12]}; {_remedy(target)}"
    red_run = _red_run(seen, main, evidence)
    # Stated, since the start of the gates may never have been told.
    seen = replace(seen, status=replace(seen.status, candidate=red_run.candidate if red_run is not None else ""))
    status = statuses.over(seen, mr_api.PHASE_REJECTED, reasons.REJECTED, message, now_time, results=told, evidence=red_run)
    return replace(status, strikes=max(planner.STRIKES, evidence.reds if evidence is not None else 0))


def _red_run(seen: MergeRequest, main: ObjectId, evidence: Evidence | None) -> mr_api.Evidence | None:
    """Which run said no: the one that `results` tells of."""
    told = _deciding(evidence)
    if evidence is None or told is None:
        return None
    name = gate_run_name(seen.spec.rigName, evidence.tree, evidence.gate_digest, told.number)
    return mr_api.Evidence(tree=evidence.tree, gateDigest=evidence.gate_digest, gateRunName=name, base=main, candidate=told.candidate)


def _deciding(evidence: Evidence | None) -> Attempt | None:
    attempts = evidence.attempts if evidence is not None else ()
    green = [attempt for attempt in attempts if attempt.verdict is Verdict.PASSED][:1]
    red = [attempt for attempt in attempts if attempt.verdict is Verdict.FAILED][-1:]
    return next(iter((*green, *red, *attempts[-1:])), None)


def _remedy(target: str) -> str:
    return f"run git fetch origin && git merge origin/{target} on the branch, put right what does not fit, and hand in the new head"


def _listed(files: Sequence[str], count: int) -> str:
    more = f" and {count - NAMED_FILES} more" if count > NAMED_FILES else ""
    return ", ".join(file[:NAMED_CHARACTERS] for file in files[:NAMED_FILES]) + more


def _renamed(text: str, names: Mapping[str, str]) -> str:
    for commit, name in names.items():
        text = text.replace(commit, name)
    return text


def _gate_result(result: GateRunResult) -> GateResult:
    start, finish = unix_seconds(result.startTime), unix_seconds(result.finishTime)
    return GateResult(
        name=result.name,
        verdict=_BY_WORD.get(result.verdict, Verdict.ERROR),
        exit_code=result.exitCode,
        seconds=finish - start if start is not None and finish is not None else 0.0,
        log_tail=result.logTail,
    )
