"""Sessions of a profile as recorded ones, by number."""

from __future__ import annotations

from collections.abc import Iterator

from swarm.config.profile import ProfileFile
from swarm.workload.profile.balance import Balanced
from swarm.workload.profile.script import recorded, script_of
from swarm.workload.recorded import RecordedSession


def generate(profile: ProfileFile, *, sessions: int, seed: int) -> Iterator[RecordedSession]:
    """Yield the profile's first sessions; each is the same whatever their number."""
    balanced = Balanced(profile, seed, ())
    shared = profile.subagents.shared_tokens if profile.subagents is not None else 0.0
    arrived_s = 0.0
    for index in range(sessions):
        plan = balanced.plan(index)
        arrived_s += plan.arrival_s if index else 0.0
        script = script_of(plan, name=f"{profile.name}-{seed}-{index:06d}", child_shared_tokens=shared)
        yield recorded(plan, script, block_tokens=profile.block_tokens, start_s=arrived_s)
