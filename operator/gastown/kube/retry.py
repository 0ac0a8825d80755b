"""The one retry policy of both clients: what may be sent again, and after how long. Pure: no clock, no dice, no I/O."""

from __future__ import annotations

from dataclasses import dataclass

from gastown.kube.errors import ApiError, TooManyRequests, Unavailable


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long a request is tried.

    Attributes:
        attempts: At most this many requests for one call.
        first_seconds: Wait before the second attempt; doubled for each further one.
        longest_seconds: No wait is longer, whatever the server asks for.
    """

    # 7 attempts wait 6 to 12 s in all: an API server that just learned our kinds may refuse writes for 5 s (docs/decisions/0003).
    attempts: int = 7
    first_seconds: float = 0.2
    longest_seconds: float = 8.0

    def wait_before_next(self, error: ApiError, attempt: int, left_seconds: float, roll: float, *, repeatable: bool) -> float | None:
        """Seconds to wait before sending the request again, or None to raise the error.

        Args:
            error: Of the attempt just made.
            attempt: How many were made, 1 for the first.
            left_seconds: Until the call's deadline.
            roll: A random number in [0, 1): spreads clients that failed together over half of the wait.
            repeatable: Whether sending twice does the same as once. A create or JSON patch is not: if the first try did happen, the
                second answers "already exists" or "test failed" and the caller takes its own success for a lost race.
        """
        if attempt >= self.attempts:
            return None
        if isinstance(error, TooManyRequests):
            wait = max(error.retry_after_seconds, self._backoff(attempt, roll))
        elif isinstance(error, Unavailable) and (repeatable or not error.may_have_happened):
            wait = self._backoff(attempt, roll)
        else:
            return None
        wait = min(wait, self.longest_seconds)
        return wait if wait < left_seconds else None

    def _backoff(self, attempt: int, roll: float) -> float:
        return float(self.first_seconds * 2 ** (attempt - 1) * (1.0 - 0.5 * roll))


DEFAULT_POLICY = RetryPolicy()
# For callers that have their own queue or loop to come back with.
NO_RETRY = RetryPolicy(attempts=1)
