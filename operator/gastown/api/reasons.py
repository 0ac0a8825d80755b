"""Reasons: the CamelCase words in conditions and Events, one list, so that clients can rely on them."""

from __future__ import annotations

# any kind
ACCEPTED = "Accepted"
INVALID = "Invalid"
SUSPENDED = "Suspended"
EMERGENCY_STOP = "EmergencyStop"
# Event: the operator's write was refused; the message says by whom and why.
WRITE_REFUSED = "WriteRefused"
THAWED = "Thawed"

# Bead: why it may not start
STARTABLE = "Startable"
BLOCKED = "Blocked"
UNKNOWN_DEPENDENCY = "UnknownDependency"
DEPENDENCY_CYCLE = "DependencyCycle"
PARENT_BLOCKED = "ParentBlocked"
DEFERRED = "Deferred"
PINNED = "Pinned"
UNKNOWN_PREFIX = "UnknownPrefix"
NO_RIG = "NoRig"
RIG_NOT_READY = "RigNotReady"
NOT_DISPATCHED = "NotDispatched"
CONVOY_PAUSED = "ConvoyPaused"
STOPPING = "Stopping"
CLOSED = "Closed"
SKIPPED = "Skipped"

# Bead: why a startable one has no agent or no session
NO_CAPACITY = "NoCapacity"
NO_AGENT = "NoAgent"
NO_PROFILE = "NoProfile"
AGENT_BUSY = "AgentBusy"
BOUND = "Bound"
BACK_OFF = "BackOff"
ATTEMPTS_EXHAUSTED = "AttemptsExhausted"
REWORKS_EXHAUSTED = "ReworksExhausted"

# Bead and MergeRequest: delivery
MERGE_REQUEST_CREATED = "MergeRequestCreated"
NOT_SUBMITTED = "NotSubmitted"
LANDED = "Landed"
NOT_LANDED = "NotLanded"
REOPENED = "Reopened"
REJECTED = "Rejected"
CONFLICTED = "Conflicted"
SUPERSEDED = "Superseded"

# MergeRequest
PINNED_HEAD = "HeadPinned"
HEAD_NOT_FOUND = "HeadNotFound"
HEAD_NOT_ON_BRANCH = "HeadNotOnBranch"
WRONG_BRANCH = "WrongBranch"
UNUSABLE_TREE = "UnusableTree"
VERIFIED = "Verified"
WRONG_AGENT = "WrongAgent"
UNKNOWN_BEAD = "UnknownBead"
EMPTY_CHANGE = "EmptyChange"
BEAD_CLOSED = "BeadClosed"
GATING = "Gating"
QUEUED = "Queued"
GATE_FAILED = "GateFailed"
GATE_ERROR = "GateError"
PUSHED = "Pushed"
PUSH_FAILED = "PushFailed"
NO_UPSTREAM = "NoUpstream"

# GateRun
PASSED = "Passed"
FAILED = "Failed"
RUNNING = "Running"
GATES_CHANGED = "GatesChanged"
UNKNOWN_RIG = "UnknownRig"

# Rig
REPOSITORY_CREATED = "RepositoryCreated"
FETCH_FAILED = "FetchFailed"
WAITING_FOR_REPOSITORY = "WaitingForRepository"
PREFIX_TAKEN = "PrefixTaken"
UNKNOWN_PROFILE = "UnknownProfile"
NO_GATES = "NoGates"

# Convoy
VALIDATING = "Validating"
CYCLE = "Cycle"
DUPLICATE_NAME = "DuplicateName"
NAME_TAKEN = "NameTaken"
UNKNOWN_LOCAL_NAME = "UnknownLocalName"
EMPTY = "Empty"
ALL_DONE = "AllDone"
IN_PROGRESS = "InProgress"
MEMBER_FAILED = "MemberFailed"
MEMBERS_WAITING = "MembersWaiting"
PAUSED = "Paused"
CANCELLED = "Cancelled"

# Agent
HEARTBEAT_MISSED = "HeartbeatMissed"
NOT_STARTING = "NotStarting"
NO_PROGRESS = "NoProgress"
REPLACED = "Replaced"
NODE_LOST = "NodeLost"
