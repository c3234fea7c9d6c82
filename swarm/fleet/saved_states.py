"""Whether a fleet saves states of linear layers beside KV, and what such a fleet cannot be."""

from __future__ import annotations

from swarm.config.fleet import FleetConfig, TierConfig
from swarm.errors import ConfigError
from swarm.kvcache.states import StateRules


def state_rules(config: FleetConfig) -> StateRules | None:
    """Return what is saved of states; None where they are free.

    Raises:
        ConfigError: The fleet is of a kind that has no rules for states.
    """
    states = config.states
    if states is None:
        return None
    problem = _problem(config)
    if problem is not None:
        raise ConfigError(f"fleet.states: {problem}")
    return StateRules(blocks=states.blocks, at_prompt_end_only=states.saved == "prompt_end")


def _problem(config: FleetConfig) -> str | None:
    for group in config.replicas:
        if group.role != "aggregated":
            return f"a replica with role {group.role!r}; states are not moved between replicas"
        least = config.block_tokens + min(group.max_sequences, group.max_batched_tokens)
        if group.max_batched_tokens < least:
            return (
                f"max_batched_tokens {group.max_batched_tokens} leave a chunk no block of "
                f"{config.block_tokens} tokens beside {group.max_sequences} sequences; at least {least}"
            )
    for tier in config.tiers:
        problem = _tier_problem(tier)
        if problem is not None:
            return f"tier {tier.name}: {problem}"
    if len(config.tiers) > 1 and config.recompute_when_faster:
        return "recompute_when_faster would end a hit where no state is; set it to false"
    return None


def _tier_problem(tier: TierConfig) -> str | None:
    if tier.ttl_s is not None or tier.pinned is not None:
        return "ttl_s and pinned have no rule for states; set them to null"
    if tier.name != "hbm" and not (tier.inclusive and tier.write in (None, "write_through")):
        return "states are written through; set inclusive to true and write to null"
    if tier.eviction != "lru":
        return f"eviction {tier.eviction!r} has no rule for states; set it to 'lru'"
    return None
