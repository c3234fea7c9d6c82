"""What tiers hold, in the one unit that the fleet counts in, however it was stated."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from swarm.config.fleet import FleetConfig, TierConfig
from swarm.errors import ConfigError
from swarm.fleet.cost.rank_cost import RankCost
from swarm.fleet.memories import instance_of, tier_configs
from swarm.fleet.transfers.links import RankPlace
from swarm.kvcache.rules import CacheRules
from swarm.units import GIB

GB = 10**9
ROUNDING = 1e-12
"""What arithmetic takes from a product: 0.29 of 100 blocks are 29."""


def with_capacities(
    config: FleetConfig, rules: CacheRules, places: Sequence[RankPlace], costs: Mapping[int, RankCost]
) -> list[TierConfig]:
    """Return the tiers, HBM first, each with `capacity_gib` for what was stated in another unit.

    `costs` are of a rank, by the id of its group.

    Raises:
        ConfigError: The tiers do not make a fleet, or a share of HBM would give the instances of a tier
            different capacities.
    """
    tiers = tier_configs(config)
    hbm = _stated(tiers[0], rules)
    hbm_bytes = {}
    for place in places:
        if hbm.capacity_gib is not None:
            hbm_bytes[place.replica] = hbm.capacity_gib * GIB
        else:
            blocks = costs[id(place.group)].kv_capacity_tokens // rules.block_tokens
            hbm_bytes[place.replica] = float(blocks * rules.block_bytes * place.group.parallelism.dp)
    return [hbm, *(_shared(_stated(tier, rules), rules, places, hbm_bytes) for tier in tiers[1:])]


def _stated(tier: TierConfig, rules: CacheRules) -> TierConfig:
    """Return a tier with the capacity that is stated in bytes, tokens or blocks."""
    if tier.capacity_gb is not None:
        capacity = tier.capacity_gb * GB
    elif tier.capacity_tokens is not None:
        capacity = float(tier.capacity_tokens // rules.block_tokens * rules.block_bytes)
    elif tier.capacity_blocks is not None:
        capacity = float(tier.capacity_blocks * rules.block_bytes)
    else:
        return tier
    return tier.model_copy(update={"capacity_gib": capacity / GIB})


def _shared(
    tier: TierConfig, rules: CacheRules, places: Sequence[RankPlace], hbm_bytes: Mapping[int, float]
) -> TierConfig:
    """Return a tier with the capacity that is stated as a share of the HBM of those that share it."""
    if tier.capacity_of_hbm is None:
        return tier
    above: dict[int, float] = {}
    for place in places:
        ranks = place.group.parallelism.dp if tier.scope == "rank" else 1
        for rank in range(ranks):
            instance = instance_of(tier, place, rank)
            above[instance] = above.get(instance, 0.0) + hbm_bytes[place.replica] / ranks
    if len(set(above.values())) > 1:
        least, most = min(above.values()) / GIB, max(above.values()) / GIB
        raise ConfigError(
            f"fleet.tiers {tier.name}: capacity_of_hbm asked, but its instances are below {least:.1f} to "
            f"{most:.1f} GiB of HBM; state capacity_gib"
        )
    blocks = math.floor(tier.capacity_of_hbm * above.popitem()[1] / rules.block_bytes * (1.0 + ROUNDING))
    return tier.model_copy(update={"capacity_gib": blocks * rules.block_bytes / GIB})
