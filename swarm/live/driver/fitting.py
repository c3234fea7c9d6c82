"""An experiment held against what its target says of itself: defaults filled in, what cannot fit refused."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from swarm.config.experiment import Experiment
from swarm.errors import TargetError
from swarm.live.preflight import with_hint
from swarm.live.targets.facts import ServerFacts, server_facts
from swarm.workload.reach import check_reach


def looked_at(experiment: Experiment) -> tuple[Experiment, dict[str, Any] | None]:
    """Ask a foreign target what it is; return the experiment that fits it, and the facts for `run.yaml`.

    Raises:
        ConfigError: Requests of the workload are longer than the target takes.
        TargetError: The target lists no model to ask, and none is named: nothing could be sent.
    """
    if not experiment.target.urls:
        return experiment, None
    facts = asyncio.run(server_facts(experiment.target))
    if experiment.target.model is None and facts.models is None and facts.closed:
        # The door that a run comes through first; to knock again would take as long again.
        raise TargetError(f"the target cannot be used: {with_hint(facts.closed[0])}")
    fitted = with_facts(experiment, facts)
    check_reach(fitted)
    return fitted, asdict(facts)


def with_facts(experiment: Experiment, facts: ServerFacts) -> Experiment:
    """Return the experiment with what its file left open: the cache's block size, the longest request."""
    target = experiment.target
    if target.context_tokens is None:
        target = target.model_copy(update={"context_tokens": facts.context_tokens})
    changes: dict[str, Any] = {"target": target}
    if experiment.block_tokens is None:
        changes["block_tokens"] = facts.block_tokens
    return experiment.model_copy(update=changes)
