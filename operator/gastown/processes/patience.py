"""Reads how patient the Witness is from the operator's environment; the chart sets it from operator.witness."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields

from gastown.decide.witness import Patience
from gastown.kube.configuration import ConfigurationError


def patience_from(environment: Mapping[str, str]) -> Patience:
    """GASTOWN_SILENT_SECONDS, GASTOWN_ANSWER_SECONDS, GASTOWN_STILL_SECONDS and GASTOWN_START_SECONDS; what is not set has its default.

    Raises:
        ConfigurationError: One is no number of seconds; the message names it.
    """
    found: dict[str, float] = {}
    for field in fields(Patience):
        name = f"GASTOWN_{field.name.upper()}_SECONDS"
        if text := environment.get(name, ""):
            found[field.name] = _seconds(name, text, may_be_off=field.name == "still")
    return Patience(**found)


def _seconds(name: str, text: str, *, may_be_off: bool) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isfinite(value) and (value > 0 or (may_be_off and value == 0)):
        return value
    allowed = "seconds, or 0 to switch it off" if may_be_off else "seconds, more than 0"
    raise ConfigurationError(f"{name} is {text!r}; it must be a number of {allowed}")
