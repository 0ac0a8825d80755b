"""Counters of the repo-server in the text format that Prometheus reads; a dozen lines instead of a dependency."""

from __future__ import annotations

from collections import Counter

_HELP = {
    "gastown_repo_requests_total": ("counter", "Requests by service and HTTP status."),
    "gastown_repo_request_seconds_total": ("counter", "Time spent on requests by service."),
    "gastown_repo_received_bytes_total": ("counter", "Bytes of request bodies by service."),
    "gastown_repo_sent_bytes_total": ("counter", "Bytes of response bodies by service."),
    "gastown_repo_refused_refs_total": ("counter", "Refs of pushes that the access rules refused."),
    "gastown_repo_kept_tips_total": ("counter", "Old tips kept before a push that may rewrite or delete."),
    "gastown_repo_removed_locks_total": ("counter", "Lock files of killed processes that were removed."),
    "gastown_repo_maintenances_total": ("counter", "Repositories packed."),
    "gastown_repo_children": ("gauge", "Running git children."),
}


class Counters:
    """Numbers by name and labels."""

    def __init__(self) -> None:
        self._values: Counter[tuple[str, tuple[tuple[str, str], ...]]] = Counter()

    def add(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add to a number; the name must be listed above."""
        assert name in _HELP, f"metric {name} has no help text"
        self._values[name, tuple(sorted(labels.items()))] += amount  # type: ignore[assignment]

    def get(self, name: str, **labels: str) -> float:
        """Read a number; 0 when nothing was added."""
        return self._values[name, tuple(sorted(labels.items()))]

    def text(self) -> str:
        """All numbers, each with its help."""
        lines = []
        for name, (kind, help_text) in _HELP.items():
            lines += [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}"]
            found = sorted((labels, value) for (own, labels), value in self._values.items() if own == name)
            for labels, value in found or [((), 0)]:
                inside = ",".join(f'{key}="{label}"' for key, label in labels)
                lines.append(f"{name}{{{inside}}} {value:g}" if inside else f"{name} {value:g}")
        return "\n".join(lines) + "\n"
