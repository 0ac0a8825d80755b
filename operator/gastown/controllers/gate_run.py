"""GateRuns: what bears on one, and whose change may change what."""

from __future__ import annotations

from typing import Any

from gastown.actions import Key
from gastown.api import labels
from gastown.api.core import Job, Pod
from gastown.api.gate_run import GateRun
from gastown.api.rig import Rig
from gastown.api.town import Town
from gastown.controllers.changes import is_new_spec, key_of, versions
from gastown.controllers.stores import Stores, at
from gastown.decide.gate_job import GateSettings
from gastown.decide.gate_run import GateRunSeen, is_over
from gastown.runtime.controller import Controller
from gastown.runtime.store import Change


class GateRunWiring:
    """Builds the input of `decide/gate_run.py` and wakes the runs that a change concerns."""

    def __init__(self, stores: Stores, settings: GateSettings) -> None:
        self._stores = stores
        self._settings = settings

    def observe(self, key: Key) -> GateRunSeen | None:
        """All that bears on the run; None when it is gone (its Jobs go with it)."""
        stores, (namespace, name) = self._stores, key
        run = stores.gate_runs.find(namespace, name)
        if run is None:
            return None

        def is_owned(job: Job) -> bool:
            return any(owner.uid == run.metadata.uid for owner in job.metadata.ownerReferences)

        jobs = tuple(job for job in stores.jobs.by("gate_run", at(*key)) if is_owned(job))
        uids = {job.metadata.uid for job in jobs}
        pods = stores.pods.by("gate_run", at(*key))
        return GateRunSeen(
            run=run,
            settings=self._settings,
            rig=stores.rigs.find(namespace, run.spec.rigName),
            town=stores.town(namespace),
            jobs=jobs,
            # Only the pods of these Jobs: whoever may create pods could otherwise hand in a verdict of their own.
            pods=tuple(pod for pod in pods if any(owner.uid in uids for owner in pod.metadata.ownerReferences)),
        )

    def wire(self, controller: Controller[GateRunSeen]) -> None:
        """Subscribe to what bears on GateRuns."""
        stores = self._stores

        def on_run(change: Change[GateRun]) -> None:
            controller.enqueue(change.key)

        def on_part(change: Change[Any]) -> None:
            parts: list[Pod | Job] = versions(change)
            names = {part.metadata.labels.get(labels.GATE_RUN, "") for part in parts} - {""}
            controller.enqueue(*((change.key[0], name) for name in names))

        def on_rig(change: Change[Rig]) -> None:
            if is_new_spec(change):
                controller.enqueue(*(key_of(run) for run in stores.gate_runs.by("rig", at(*change.key)) if not is_over(run)))

        def on_town(change: Change[Town]) -> None:
            if is_new_spec(change):
                controller.enqueue(*(key_of(run) for run in stores.gate_runs.all(change.key[0]) if not is_over(run)))

        stores.gate_runs.subscribe(on_run)
        stores.jobs.subscribe(on_part)
        stores.pods.subscribe(on_part)
        stores.rigs.subscribe(on_rig)
        stores.towns.subscribe(on_town)
