"""How much a status may hold, as the CRDs bound it: a writer that exceeds one has its whole write refused, so deciders cut to these."""

from __future__ import annotations

# Bead.status
BLOCKED_BY = 64
LANDED_COMMITS = 64
RETIRED = 256

# Bead.status.lastRework and MergeRequest.status.conflict
CONFLICT_FILES = 200
CONFLICT_MESSAGE_CHARACTERS = 4096

# Last lines of a gate, wherever they are kept.
LOG_TAIL_CHARACTERS = 8192

# Convoy.status; later waves are added to the last one.
CONVOY_WAVES = 64
CONVOY_REASONS = 32
MEMBER_MESSAGE_CHARACTERS = 1024

# Agent.status.session.lastMessage
SESSION_MESSAGE_CHARACTERS = 4096

# Rig.status.head.subject
SUBJECT_CHARACTERS = 1024

# conditions[] of every kind
CONDITIONS = 32
CONDITION_MESSAGE_CHARACTERS = 32768
