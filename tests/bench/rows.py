"""What a benchmark returns: rows of one table, each with a goal and a reference measured in the same run."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One figure.

    Attributes:
        name: Fixed, lower_case; later runs are compared by it.
        value: Median of the runs.
        unit: Such as s, writes, winners.
        goal: In words, such as "< 60".
        ok: Whether the goal is met.
        reference: What was measured beside it in the same run, in words with its value; "" if nothing compares.
        ratio: value / reference value; None if nothing compares.
        how: What was done, and how often.
        details: Anything a reader may want to look at, such as writes by kind.
    """

    name: str
    value: float
    unit: str
    goal: str
    ok: bool
    how: str
    reference: str = ""
    ratio: float | None = None
    details: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON form, without empty details."""
        return {key: value for key, value in asdict(self).items() if value is not None or key == "ratio"}


def table(rows: Sequence[Row]) -> str:
    """The rows as aligned text."""
    header = ("name", "value", "unit", "goal", "ok", "reference", "ratio")
    lines = [header]
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        lines.append((row.name, f"{row.value:.4g}", row.unit, row.goal, "yes" if row.ok else "NO", row.reference, ratio))
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)


def median(values: Sequence[float]) -> float:
    """The median of several runs."""
    return statistics.median(values)
