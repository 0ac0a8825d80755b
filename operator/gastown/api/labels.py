"""Labels and annotations, each with who sets it and who reads it."""

from __future__ import annotations

# On Pods, Jobs and ServiceAccounts made by the operator; admission keeps agent, bead and session immutable.
AGENT = "gastown.dev/agent"
BEAD = "gastown.dev/bead"
RIG = "gastown.dev/rig"
SESSION = "gastown.dev/session"
ROLE = "gastown.dev/role"
GATE_RUN = "gastown.dev/gate-run"
GATE = "gastown.dev/gate"

# On beads that a convoy created, and on MergeRequests and Jobs that follow from them.
CONVOY = "gastown.dev/convoy"

# Annotation on a bead: its name inside the convoy that created it.
LOCAL_NAME = "gastown.dev/local-name"
# Annotation by a person on a Failed bead: a new value asks for another try.
RETRY_REQUESTED_AT = "gastown.dev/retry-requested-at"
# Stamped by admission: the authenticated writer.
ACTOR = "gastown.dev/actor"
# Set by `bd delete` just before deletion, since a deletion carries no actor.
DELETED_BY = "gastown.dev/deleted-by"

# On an agent's Lease. By the session with its heartbeat: what its agent's processes did so far (any change is a sign of work), and the
# newest checkpoint it pushed. By the operator: a word to the session, "<pod uid> <time> <words>".
PROGRESS = "gastown.dev/progress"
CHECKPOINT = "gastown.dev/checkpoint"
NUDGE = "gastown.dev/nudge"

PART_OF = "app.kubernetes.io/part-of"
COMPONENT = "app.kubernetes.io/component"
MANAGED_BY = "app.kubernetes.io/managed-by"

# The audience of the tokens with which agents speak git.
REPOSITORY_AUDIENCE = "gastown-repo"
