"""A small registry of counters, gauges and histograms in the Prometheus text format; no library."""

from __future__ import annotations

import bisect
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

LabelValues = tuple[str, ...]
# Seconds: from one decision without a write to a write behind a slow API server.
DEFAULT_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Counter:
    """A number that only grows, per combination of label values."""

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        self.values: dict[LabelValues, float] = {}

    def add(self, *label_values: str, amount: float = 1.0) -> None:
        """Count up; label values in the order of the labels."""
        self.values[label_values] = self.values.get(label_values, 0.0) + amount

    def lines(self, name: str) -> Iterable[str]:
        """The text form."""
        return (f"{name}{_label_text(self.labels, values)} {_number(value)}" for values, value in sorted(self.values.items()))


class Gauge(Counter):
    """A number that goes up and down."""

    def set(self, value: float, *label_values: str) -> None:
        """Replace the value."""
        self.values[label_values] = value


class Histogram:
    """How often a value fell below each bound; bounds are shared by all label values."""

    def __init__(self, labels: Sequence[str], bounds: Sequence[float] = DEFAULT_BUCKETS) -> None:
        self.labels = tuple(labels)
        self.bounds = tuple(bounds)
        self.counts: dict[LabelValues, list[int]] = {}
        self.sums: dict[LabelValues, float] = {}

    def observe(self, value: float, *label_values: str) -> None:
        """Count one value."""
        counts = self.counts.setdefault(label_values, [0] * (len(self.bounds) + 1))
        counts[bisect.bisect_left(self.bounds, value)] += 1
        self.sums[label_values] = self.sums.get(label_values, 0.0) + value

    def lines(self, name: str) -> Iterable[str]:
        """The text form: cumulative buckets, sum and count."""
        for values, counts in sorted(self.counts.items()):
            running = 0
            for bound, count in zip((*map(_number, self.bounds), "+Inf"), counts, strict=True):
                running += count
                yield f"{name}_bucket{_label_text((*self.labels, 'le'), (*values, bound))} {running}"
            yield f"{name}_sum{_label_text(self.labels, values)} {_number(self.sums[values])}"
            yield f"{name}_count{_label_text(self.labels, values)} {running}"


Metric = Counter | Gauge | Histogram
# Label values -> value, asked for at each scrape.
Collector = Callable[[], Mapping[LabelValues, float]]


class Registry:
    """All metrics of a process.

    Args:
        prefix: Put before every name, with an underscore.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._metrics: dict[str, tuple[str, str, Metric, Collector | None]] = {}
        self._lock = threading.Lock()

    def counter(self, name: str, help_text: str, labels: Sequence[str] = (), collect: Collector | None = None) -> Counter:
        """A counter; the same one when the name is known already. With `collect`, its values are asked for at each scrape."""
        metric = self._register(name, "counter", help_text, Counter(labels), collect)
        assert isinstance(metric, Counter)
        return metric

    def gauge(self, name: str, help_text: str, labels: Sequence[str] = (), collect: Collector | None = None) -> Gauge:
        """A gauge; as `counter`."""
        metric = self._register(name, "gauge", help_text, Gauge(labels), collect)
        assert isinstance(metric, Gauge)
        return metric

    def histogram(self, name: str, help_text: str, labels: Sequence[str] = (), bounds: Sequence[float] = DEFAULT_BUCKETS) -> Histogram:
        """A histogram; the same one when the name is known already."""
        metric = self._register(name, "histogram", help_text, Histogram(labels, bounds), None)
        assert isinstance(metric, Histogram)
        return metric

    def names(self) -> dict[str, str]:
        """Full metric names and their help texts, for the test that compares them with the documentation."""
        return {f"{self._prefix}_{name}": help_text for name, (_, help_text, _, _) in self._metrics.items()}

    def text(self) -> str:
        """Everything in the Prometheus text format, version 0.0.4."""
        lines: list[str] = []
        for name, (type_, help_text, metric, collect) in sorted(self._metrics.items()):
            if collect is not None and isinstance(metric, Counter):
                metric.values = dict(collect())
            full = f"{self._prefix}_{name}"
            lines += [f"# HELP {full} {_escape(help_text)}", f"# TYPE {full} {type_}", *metric.lines(full)]
        return "\n".join(lines) + "\n"

    def _register(self, name: str, type_: str, help_text: str, metric: Metric, collect: Collector | None) -> Metric:
        with self._lock:
            known = self._metrics.get(name)
            if known is None:
                self._metrics[name] = (type_, help_text, metric, collect)
                return metric
        if known[0] != type_ or known[2].labels != metric.labels:
            raise ValueError(f"metric {name} is registered as {known[0]} with labels {known[2].labels}; use another name")
        return known[2]


def _label_text(names: Sequence[str], values: Sequence[str]) -> str:
    if not names:
        return ""
    pairs = ",".join(f'{name}="{_escape(value, quotes=True)}"' for name, value in zip(names, values, strict=True))
    return "{" + pairs + "}"


def _escape(text: str, *, quotes: bool = False) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quotes else text


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
