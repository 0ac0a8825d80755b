"""When a projected token is due for renewal. The token itself tells, so a restarted agent needs no memory of it. Pure."""

from __future__ import annotations

import base64
import json

_RENEW_AT_SHARE = 0.8
_LONGEST_SECONDS = 24 * 3600.0


def renewal_time(token: str) -> float:
    """Seconds since the epoch at which a token should be replaced: 80 % of its life, at most a day; 0 for what is no token."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        issued, expires = float(claims["iat"]), float(claims["exp"])
    except (IndexError, KeyError, ValueError, TypeError):
        return 0.0
    return issued + min((expires - issued) * _RENEW_AT_SHARE, _LONGEST_SECONDS)
