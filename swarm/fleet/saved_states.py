"""Whether a fleet saves states of linear layers beside KV, and what such a fleet cannot be."""

from __future__ import annotations

from collections.abc import Sequence

from swarm.config.catalog import LinearEntry
from swarm.config.fleet import FleetConfig, RooflineCostConfig, TierConfig
from swarm.errors import ConfigError
from swarm.fleet.catalog.read import find_model
from swarm.kvcache.states import RUNNING, StateRules
from swarm.kvcache.tier import Tier


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


def check_room(states: StateRules | None, hbms: Sequence[Tier]) -> None:
    """Refuse a pool that the states of one request fill.

    Raises:
        ConfigError: No block is left for KV.
    """
    if states is None:
        return
    for hbm in hbms:
        blocks = hbm.capacity_blocks
        if blocks is not None and blocks <= states.room_blocks:
            raise ConfigError(
                f"fleet.states: {RUNNING} states of {states.blocks} blocks, which an open request needs, "
                f"leave no block of a rank's pool of {blocks} for KV; set fewer blocks, or give more memory"
            )


def _problem(config: FleetConfig) -> str | None:
    cost = config.cost
    if isinstance(cost, RooflineCostConfig):
        model = find_model(cost.model)
        if not any(isinstance(layer, LinearEntry) for layer in model.attention):
            return f"{model.name} has no layers that keep a state; leave states out"
    for group in config.replicas:
        if group.role != "aggregated":
            return f"a replica with role {group.role!r}; states are not moved between replicas"
        least = config.block_tokens + group.max_sequences
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
    if tier.name != "hbm" and tier.write_mode != "write_through":
        return "states are written through; set inclusive to true and write to null"
    if tier.eviction != "lru":
        return f"eviction {tier.eviction!r} has no rule for states; set it to 'lru'"
    return None
