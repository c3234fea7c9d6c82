"""Sessions of a profile as recorded ones, by number."""

from __future__ import annotations

from collections.abc import Iterator

from swarm.config.profile import ProfileFile
from swarm.errors import ConfigError
from swarm.workload.formats.fields import SECONDS_MAX
from swarm.workload.profile.balance import Balanced
from swarm.workload.profile.sample import SessionPlan
from swarm.workload.profile.script import recorded, script_of
from swarm.workload.recorded import RecordedSession
from swarm.workload.script import SessionScript

BLOCKS_MAX = 1 << 26
"""Of all prompts of a session, which are laid out id by id: a table's value must not fill the memory."""


def generate(profile: ProfileFile, *, sessions: int, seed: int) -> Iterator[RecordedSession]:
    """Yield the profile's first sessions; each is the same whatever their number."""
    balanced = Balanced(profile, seed, ())
    shared = profile.subagents.shared_tokens if profile.subagents is not None else 0.0
    arrived_s = 0.0
    for index in range(sessions):
        plan = balanced.plan(index)
        arrived_s += plan.arrival_s if index else 0.0
        script = script_of(plan, name=f"{profile.name}-{seed}-{index:06d}", child_shared_tokens=shared)
        _check(plan, script, profile.block_tokens, arrived_s)
        yield recorded(plan, script, block_tokens=profile.block_tokens, start_s=arrived_s)


def _check(plan: SessionPlan, script: SessionScript, block_tokens: int, start_s: float) -> None:
    """Refuse a session that is too large to be laid out, or too late to be read again."""
    blocks = sum(turn.length // block_tokens for agent in script.agents for turn in agent.turns)
    if blocks > BLOCKS_MAX:
        raise ConfigError(
            f"session {script.id}: its prompts have {blocks:,} blocks of {block_tokens} tokens, more than "
            f"{BLOCKS_MAX:,}; look at the profile's contexts and growth"
        )
    starts = [(0.0, plan.main), *((child.start_s, child.plan) for child in plan.children)]
    latest_s = start_s + max(at_s + float(agent.at_s[-1]) for at_s, agent in starts)
    if not latest_s <= SECONDS_MAX:
        raise ConfigError(
            f"session {script.id}: its last request is at {latest_s:.3g} s, beyond {SECONDS_MAX:.0e}; "
            "look at the profile's waits, service times and arrivals"
        )
