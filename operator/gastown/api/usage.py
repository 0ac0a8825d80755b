"""What sessions consumed, and what may be consumed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Consumption summed over sessions.

    Attributes:
        costMicroUSD: Millionths of a US dollar, of the sessions whose price is known.
        unpricedSessions: Sessions whose cost is unknown: unknown is not 0.
    """

    sessions: int = 0
    inputTokens: int = 0
    outputTokens: int = 0
    cacheReadTokens: int = 0
    cacheWriteTokens: int = 0
    wallSeconds: int = 0
    costMicroUSD: int = 0
    unpricedSessions: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A ceiling of spend; 0 means none.

    Attributes:
        costMicroUSD: Millionths of a US dollar.
        periodSeconds: Length of the window the ceiling counts over; 0 counts for ever.
    """

    costMicroUSD: int = 0
    periodSeconds: int = 0
