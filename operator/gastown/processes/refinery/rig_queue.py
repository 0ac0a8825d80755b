"""One look at a rig's merge queue: take heads in, record verdicts, plan, build, land. Git first, then what is to be told the API.

Runs in a thread, blocking; one look at a time per rig. Everything it needs is read anew from git and the stores, so a crash between
any two lines is healed by the next look: candidates come out with the same ids, evidence is recorded once, and a head that is an
ancestor of main is Landed whoever landed it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from gastown.actions import Action, Create, Delete
from gastown.api import conditions, reasons
from gastown.api import merge_request as mr_api
from gastown.api.codec import to_dict
from gastown.api.conditions import find_condition
from gastown.api.gate_run import GateRun, GateRunSpec
from gastown.api.kinds import GATE_RUN
from gastown.api.labels import RETRY_REQUESTED_AT, RIG
from gastown.api.merge_request import MergeRequest, MergeRequestStatus
from gastown.api.names import gate_run_name
from gastown.api.rig import Rig, RigHead, RigQueue, gate_digest
from gastown.decide.delivery import age_key
from gastown.decide.times import time_text, unix_seconds
from gastown.processes.refinery import commits, statuses, verdicts
from gastown.processes.refinery.intake import take_in
from gastown.runtime.log import say
from gastown_git import ref_names
from gastown_git.merge import Head, StackConflict, stack
from gastown_git.ref_names import ObjectId, branch_ref
from gastown_git.refinery import kernel, planner
from gastown_git.refinery.evidence import list_evidence, record_attempt
from gastown_git.refinery.planner import Built, Candidate, Conflict, Entry, QueueView
from gastown_git.refinery.verdicts import Evidence
from gastown_git.repository import Author, Repository

logger = logging.getLogger(__name__)

# A plan that goes on for longer than this has a bug; the next look goes on where this one stopped.
ROUNDS_PER_LOOK = 1000
# How far back the landing of a head is looked for in main; older ones show main's tip of then.
LANDING_SEARCH_COMMITS = 2000


@dataclass(frozen=True, slots=True)
class Seen:
    """What the API says about a rig.

    Attributes:
        is_stopped: The town's emergency stop is on: nothing lands and no gate starts.
    """

    rig: Rig
    merge_requests: Sequence[MergeRequest]
    gate_runs: Sequence[GateRun]
    is_stopped: bool
    gate_run_retention_seconds: int


@dataclass(slots=True)
class Look:
    """What one look brought about.

    Attributes:
        told: MergeRequest name -> its status as it should be.
        actions: GateRuns to create and to delete.
        head, queue: For the Rig.
        held: Names held in this look; not merely waiting for their turn.
    """

    held: set[str] = field(default_factory=set)
    told: dict[str, MergeRequestStatus] = field(default_factory=dict)
    actions: list[Action] = field(default_factory=list)
    head: RigHead = field(default_factory=RigHead)
    queue: RigQueue = field(default_factory=RigQueue)


class MergeQueue:
    """The queue of one rig; remembers only what it could read again.

    Args:
        repository: The rig's, adopted.
        source_url: Tree id -> signed address where a gate Job gets it.
    """

    def __init__(self, repository: Repository, source_url: Callable[[ObjectId], str]) -> None:
        self.repository = repository
        self._source_url = source_url
        self._built: dict[Candidate, Built | Conflict] = {}
        # Candidates kept by a ref; listed once, since a listing walks all refs of the repository.
        self._held = set(repository.refs.find_all(ref_names.CANDIDATES).values())
        self._digest = ""
        self._evidence: dict[ObjectId, Evidence] = {}

    def look(self, seen: Seen, now: float) -> Look:
        """Do all that can be done now.

        Args:
            now: Unix seconds.
        """
        rig, result = seen.rig, Look()
        self._load_evidence(gate_digest(rig.spec.gates))
        requests = {mr.metadata.name: mr for mr in seen.merge_requests if not mr.metadata.deletionTimestamp}
        main = self._main(rig)
        for name, mr in requests.items():
            if statuses.is_over(mr):
                continue
            try:
                result.told[name] = self._admit(rig, mr, list(requests.values()), main, time_text(now))
            except Exception as error:  # noqa: BLE001 - whatever one request meets, the others of its rig go on; it is tried at each look
                say(logger, logging.ERROR, "request_not_admitted", exc_info=error, namespace=rig.metadata.namespace, name=name)
        self._record(seen.gate_runs)
        for _ in range(ROUNDS_PER_LOOK):
            if not self._round(seen, requests, result, now):
                break
        self._tell_gating(seen, requests, result, now)
        self._tell_waiting(requests, result, now)
        self._collect(seen, now, result)
        self._summarise(rig, requests, result)
        return result

    # -- intake

    def _admit(self, rig: Rig, mr: MergeRequest, all_requests: list[MergeRequest], main: ObjectId, now_time: str) -> MergeRequestStatus:
        if self._has_landed(mr, main):
            return self._landed(mr, main, now_time)
        if newer := _newer(mr, all_requests):
            message = f"{newer.metadata.name} is a newer request of {mr.spec.beadName}"
            return statuses.over(mr, mr_api.PHASE_SUPERSEDED, reasons.SUPERSEDED, message, now_time)
        if not statuses.is_pinned(mr):
            return take_in(self.repository, mr, rig, main, now_time)
        verified = find_condition(mr.status.conditions, conditions.VERIFIED)
        if verified is not None and verified.status == "False" and verified.reason in (reasons.BEAD_CLOSED, reasons.SUPERSEDED):
            return statuses.over(mr, mr_api.PHASE_SUPERSEDED, verified.reason, verified.message, now_time)
        if mr.spec.suspend:
            return statuses.held(mr, reasons.SUSPENDED, "spec.suspend is true; set it to false to go on", now_time)
        return mr.status

    def _has_landed(self, mr: MergeRequest, main: ObjectId) -> bool:
        """Whether main contains the head, and that is this request's doing: a head may have been in main before, or be another's."""
        name = ref_names.merge_request_ref(mr.metadata.name)
        if not ref_names.is_resource_name(mr.metadata.name) or self.repository.refs.find(name) != mr.spec.head:
            return False
        if not self.repository.is_ancestor(mr.spec.head, main):
            return False
        if conditions.is_true(mr.status.conditions, conditions.VERIFIED):
            return True
        # The status may have been lost, or the verdict taken back since it landed: main's own history still names it.
        return commits.names_request(self.repository.commit(self._landing(mr, main)).message, mr.metadata.name)

    def _landing(self, mr: MergeRequest, main: ObjectId) -> ObjectId:
        """The commit on main that brought the head in."""
        commit = main
        for capsule in self.repository.first_parent_log(main, LANDING_SEARCH_COMMITS):
            if not self.repository.is_ancestor(mr.spec.head, capsule.commit):
                break
            commit = capsule.commit
        return commit

    def _landed(self, mr: MergeRequest, main: ObjectId, now_time: str) -> MergeRequestStatus:
        commit = self._landing(mr, main)
        tree = self.repository.tree_of(commit)
        evidence = self._evidence.get(tree)
        name = verdicts.green_run_name(mr.spec.rigName, self._digest, evidence)
        kept = mr_api.Evidence(tree=tree, gateDigest=self._digest, gateRunName=name) if evidence is not None else None
        # From git, since the start of its gates may never have been told: a capsule holds its candidate.
        candidate = kernel.anchor(self.repository, commit)
        mr = _with(mr, replace(mr.status, candidate=candidate if candidate != commit else ""))
        return statuses.landed(mr, commit, kept, verdicts.results(evidence), now_time)

    # -- evidence

    def _load_evidence(self, digest: str) -> None:
        if digest != self._digest:
            self._digest = digest
            self._evidence = {evidence.tree: evidence for evidence in list_evidence(self.repository, digest)}

    def _record(self, runs: Sequence[GateRun]) -> None:
        for run in runs:
            attempt = verdicts.attempt_of(run)
            if attempt is None or run.spec.gateDigest != self._digest:
                continue
            known = self._evidence.get(run.spec.tree)
            if known is None or all(earlier.number != attempt.number for earlier in known.attempts):
                self._evidence[run.spec.tree] = record_attempt(self.repository, self._digest, run.spec.tree, attempt)

    # -- plan

    def _round(self, seen: Seen, requests: dict[str, MergeRequest], result: Look, now: float) -> bool:
        """Ask the planner once and do what it says; whether to ask again."""
        if seen.is_stopped:
            return False
        again = False
        view = self._view(seen, requests, result)
        for decision in planner.plan(view):
            match decision:
                case planner.Build(candidate):
                    self._built[candidate] = self._build(candidate, requests)
                    again = True
                case planner.Land(candidate, built):
                    self._land(seen.rig, candidate, built, requests, result, now)
                    again = True
                case planner.StartGates(candidate, built, attempt):
                    self._start_gates(seen.rig, candidate, built, attempt, requests, result, now)
                    again = True
                case planner.Reject() | planner.ReturnConflict() | planner.HoldForMain() | planner.Hold():
                    self._turn_away(seen.rig, decision, requests, result, now)
        return again

    def _view(self, seen: Seen, requests: dict[str, MergeRequest], result: Look) -> QueueView:
        convoy_times: dict[str, float] = {}
        for mr in requests.values():
            created = unix_seconds(mr.metadata.creationTimestamp) or 0.0
            convoy_times[mr.spec.convoyName] = min(created, convoy_times.get(mr.spec.convoyName, created))
        entries = [
            _entry(mr, convoy_times[mr.spec.convoyName])
            for name, mr in requests.items()
            if name in result.told and _is_queued(mr, result.told[name])
        ]
        running = {run.spec.tree for run in seen.gate_runs if _is_running(run, self._digest)}
        running |= {
            action.object["spec"]["tree"] for action in result.actions if isinstance(action, Create) and isinstance(action.object, dict)
        }
        anchor = kernel.anchor(self.repository, self._main(seen.rig))
        # A candidate stacked on what is no longer main's anchor is built anew; forgetting it keeps this map small.
        self._built = {candidate: built for candidate, built in self._built.items() if candidate.base == anchor}
        return QueueView(
            anchor=anchor,
            entries=entries,
            built=self._built,
            evidence=self._evidence,
            strikes=planner.count_strikes(self._evidence.values()),
            running=frozenset(running),
            free_slots=seen.rig.spec.maxGateRuns - len(running),
        )

    def _build(self, candidate: Candidate, requests: dict[str, MergeRequest]) -> Built | Conflict:
        heads = [self._head(requests[name]) for name in candidate.members]
        stacked = stack(self.repository, candidate.base, heads)
        if isinstance(stacked, StackConflict):
            return Conflict(candidate.members[stacked.position], stacked.conflict.files, stacked.conflict.message, stacked.conflict.hunks)
        return Built(stacked.commit, stacked.tree)

    def _head(self, mr: MergeRequest) -> Head:
        subject = commits.subject_of(self.repository.commit(mr.spec.head).message)
        return Head(mr.spec.head, commits.merge_author(mr), commits.merge_message(mr, subject))

    def _start_gates(
        self, rig: Rig, candidate: Candidate, built: Built, attempt: int, requests: dict[str, MergeRequest], result: Look, now: float
    ) -> None:
        # The ref first: a gate Job may ask for the tree as soon as the GateRun is seen.
        self.repository.hold_candidate(built.commit)
        self._held.add(built.commit)
        name = gate_run_name(rig.metadata.name, built.tree, self._digest, attempt)
        spec = GateRunSpec(
            rigName=rig.metadata.name,
            candidate=built.commit,
            base=candidate.base,
            tree=built.tree,
            gateDigest=self._digest,
            members=list(candidate.members),
            attempt=attempt,
            sourceURL=self._source_url(built.tree),
        )
        metadata = {"name": name, "namespace": rig.metadata.namespace, "labels": {RIG: rig.metadata.name}}
        body = {"apiVersion": "gastown.dev/v1alpha1", "kind": "GateRun", "metadata": metadata, "spec": to_dict(spec)}
        result.actions.append(Create(body, reason=f"gates of {built.commit[:12]}, attempt {attempt}"))
        for position, member in enumerate(candidate.members, start=1):
            seen = requests[member]
            result.told[member] = statuses.gating(_with(seen, result.told[member]), built.commit, position, name, time_text(now))

    def _land(self, rig: Rig, candidate: Candidate, built: Built, requests: dict[str, MergeRequest], result: Look, now: float) -> None:
        members = [requests[name] for name in candidate.members]
        subjects = [commits.subject_of(self.repository.commit(mr.spec.head).message) for mr in members]
        author = Author("gastown/refinery", f"refinery@{rig.metadata.namespace}.gastown.invalid", int(now))
        message = commits.capsule_message(members, subjects, built.tree, self._digest)
        try:
            main = kernel.land(
                self.repository, rig.spec.git.branch, built.commit, [mr.spec.head for mr in members], self._digest, author, message
            )
        except kernel.MainMoved:
            return  # planned again from the new tip
        for mr in members:
            result.told[mr.metadata.name] = self._landed(_with(mr, result.told[mr.metadata.name]), main, time_text(now))

    def _turn_away(self, rig: Rig, decision: planner.TurnAway, requests: dict[str, MergeRequest], result: Look, now: float) -> None:
        mr = _with(requests[decision.member], result.told[decision.member])
        result.held.add(decision.member)
        result.told[decision.member] = verdicts.turned_away(decision, mr, self._main(rig), self._evidence, time_text(now))

    # -- the rest

    def _tell_gating(self, seen: Seen, requests: dict[str, MergeRequest], result: Look, now: float) -> None:
        """Say so of members of a gate run whose start was not told: whoever started it may have died right after."""
        anchor = kernel.anchor(self.repository, self._main(seen.rig))
        for run in (run for run in seen.gate_runs if _is_running(run, self._digest) and run.spec.base == anchor):
            for position, name in enumerate(run.spec.members, start=1):
                told = result.told.get(name)
                if told is None or told.phase == mr_api.PHASE_GATING or not _is_queued(requests[name], told):
                    continue
                mr = _with(requests[name], told)
                result.told[name] = statuses.gating(mr, run.spec.candidate, position, run.metadata.name, time_text(now))

    def _tell_waiting(self, requests: dict[str, MergeRequest], result: Look, now: float) -> None:
        waiting = [mr for name, mr in requests.items() if name in result.told and _is_queued(mr, result.told[name])]
        order = planner.in_order([_entry(mr, 0.0) for mr in waiting])
        for position, entry in enumerate(order, start=1):
            mr, told = requests[entry.name], result.told[entry.name]
            # The position of one that waits already is not written again: with n waiting that would be n writes per landing.
            if told.phase not in (mr_api.PHASE_QUEUED, mr_api.PHASE_GATING) and entry.name not in result.held:
                result.told[entry.name] = statuses.waiting(_with(mr, told), position, time_text(now))

    def _collect(self, seen: Seen, now: float, result: Look) -> None:
        """Delete GateRuns after their time, and let go of candidates that no gate uses."""
        in_use = {
            action.object["spec"]["candidate"]
            for action in result.actions
            if isinstance(action, Create) and isinstance(action.object, dict)
        }
        for run in seen.gate_runs:
            if verdicts.attempt_of(run) is None:
                in_use.add(run.spec.candidate)
                continue
            age = now - (unix_seconds(run.metadata.creationTimestamp) or now)
            if age > seen.gate_run_retention_seconds:
                result.actions.append(
                    Delete(GATE_RUN, run.metadata.namespace, run.metadata.name, run.metadata.uid, reason=f"finished, {age:.0f} s old")
                )
        for commit in self._held - in_use:
            self.repository.refs.delete(ref_names.candidate_ref(commit), expected=commit)
            self._held.discard(commit)

    def _summarise(self, rig: Rig, requests: dict[str, MergeRequest], result: Look) -> None:
        tip = self.repository.commit(self._main(rig))
        result.head = RigHead(commit=tip.commit, subject=commits.subject_of(tip.message), time=time_text(tip.author.time))
        open_ = [mr for name, mr in requests.items() if name in result.told and not statuses.is_over(_with(mr, result.told[name]))]
        gating = sum(result.told[mr.metadata.name].phase == mr_api.PHASE_GATING for mr in open_)
        oldest = min((mr.metadata.creationTimestamp for mr in open_), default="")
        result.queue = RigQueue(length=len(open_), gating=gating, oldestTime=oldest)

    def _main(self, rig: Rig) -> ObjectId:
        main = self.repository.refs.find(branch_ref(rig.spec.git.branch))
        assert main is not None, f"rig {rig.metadata.name} is not adopted"
        return main


def _with(mr: MergeRequest, status: MergeRequestStatus) -> MergeRequest:
    return replace(mr, status=status)


def _newer(mr: MergeRequest, others: list[MergeRequest]) -> MergeRequest | None:
    mine = age_key(mr)
    return next(
        (
            other
            for other in others
            if (other.spec.beadName, other.spec.agentName) == (mr.spec.beadName, mr.spec.agentName) and age_key(other) > mine
        ),
        None,
    )


def _entry(mr: MergeRequest, convoy_time: float) -> Entry:
    return Entry(
        name=mr.metadata.name,
        head=mr.spec.head,
        priority=mr.spec.priority,
        convoy_time=convoy_time,
        submitted_time=unix_seconds(mr.metadata.creationTimestamp) or 0.0,
        retry_time=unix_seconds(mr.metadata.annotations.get(RETRY_REQUESTED_AT, "")) or 0.0,
    )


def _is_queued(mr: MergeRequest, told: MergeRequestStatus) -> bool:
    """Whether the planner may see it: pinned, verified, not suspended, not over."""
    if mr.spec.suspend or statuses.is_over(_with(mr, told)):
        return False
    landed = find_condition(told.conditions, conditions.LANDED)
    is_held = told.phase == mr_api.PHASE_HELD and landed is not None and landed.reason == reasons.GATE_ERROR
    if is_held and not mr.metadata.annotations.get(RETRY_REQUESTED_AT):
        return False  # with the annotation the planner counts the errors since then
    is_pinned = conditions.is_true(told.conditions, conditions.HEAD_PINNED)
    return is_pinned and conditions.is_true(mr.status.conditions, conditions.VERIFIED)


def _is_running(run: GateRun, digest: str) -> bool:
    succeeded = find_condition(run.status.conditions, conditions.SUCCEEDED)
    return run.spec.gateDigest == digest and (succeeded is None or succeeded.status == "Unknown")
