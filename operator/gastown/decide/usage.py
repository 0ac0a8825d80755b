"""Adding up what sessions consumed, and pricing it. Pure; used by session_end, bead and session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from gastown.api.agent_profile import Prices
from gastown.api.usage import Usage

# Prices are per million tokens.
MILLION = 1_000_000
# No counter of one session is believed beyond this; the termination message is the session's own word.
CEILING = 10**15


def added(one: Usage, other: Usage) -> Usage:
    """Field by field."""
    return Usage(**{field.name: getattr(one, field.name) + getattr(other, field.name) for field in fields(Usage)})


def of_session(told: Mapping[str, Any], prices: Prices, wall_seconds: int) -> Usage:
    """What one session consumed.

    Args:
        told: The counters of the termination message; what is no non-negative integer counts as not told.
        prices: Of its profile; a price that is unknown makes the session unpriced unless it told its cost.
    """
    tokens = {name: _count(told.get(name)) for name in ("inputTokens", "outputTokens", "cacheReadTokens", "cacheWriteTokens")}
    priced = (prices.input, prices.output, prices.cacheRead, prices.cacheWrite)
    cost = _count(told.get("costMicroUSD"))
    unpriced = 0
    if "costMicroUSD" not in told:
        due = [(count, price) for count, price in zip(tokens.values(), priced, strict=True) if count]
        unpriced = int(any(price is None for _, price in due))
        cost = 0 if unpriced else min(CEILING, sum(count * (price or 0) for count, price in due) // MILLION)
    return Usage(sessions=1, wallSeconds=max(0, wall_seconds), costMicroUSD=cost, unpricedSessions=unpriced, **tokens)


def _count(value: Any) -> int:
    return min(value, CEILING) if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
