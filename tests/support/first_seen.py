"""When something became true of an object, as a watcher of the API server sees it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from gastown.api.kinds import Kind
from gastown.kube.decoding import WatchEvent
from support.cluster import Cluster
from support.watching import watching


@dataclass(frozen=True)
class Question:
    """What is looked for.

    Attributes:
        kind: Of the objects.
        is_true: Asked of each version that the watch shows, as JSON.
    """

    kind: Kind
    is_true: Callable[[dict[str, Any]], bool]


class FirstSeen:
    """Watches of one namespace, each in turn told to one question.

    Attributes:
        times: Per question, object name -> `time.monotonic()` when it was first true.
    """

    def __init__(self, cluster: Cluster, namespace: str, questions: Sequence[Question]) -> None:
        self.times: list[dict[str, float]] = [{} for _ in questions]
        self._cluster = cluster
        self._namespace = namespace
        self._questions = questions

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch for the length of a block."""
        watches = [
            (question.kind, partial(self._hear, question, times)) for question, times in zip(self._questions, self.times, strict=True)
        ]
        with watching(self._cluster, self._namespace, watches):
            yield

    def _hear(self, question: Question, times: dict[str, float], event: WatchEvent) -> None:
        value = event.object
        if event.type != "DELETED" and value["metadata"]["name"] not in times and question.is_true(value):
            times[value["metadata"]["name"]] = time.monotonic()
