"""From a fleet's configuration to the fleet: which ranks, memories and lanes there are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from swarm.config.fleet import FleetConfig
from swarm.errors import ConfigError
from swarm.fleet.agenda import Agenda
from swarm.fleet.capacities import with_capacities
from swarm.fleet.context_length import max_model_len
from swarm.fleet.cost.rank_cost import RankCost, host_bytes_per_s, rank_cost
from swarm.fleet.cost.upkeep import with_upkeep
from swarm.fleet.fleet import Fleet, FleetLimits
from swarm.fleet.memories import Memories, kv_lanes
from swarm.fleet.plans import plans_of
from swarm.fleet.rank import Rank
from swarm.fleet.routing.router import router_of
from swarm.fleet.saved_states import check_room, state_rules
from swarm.fleet.traffic import Traffic
from swarm.fleet.transfers.links import RankPlace
from swarm.fleet.transfers.network import Network
from swarm.kvcache.blocks import Uses
from swarm.kvcache.hierarchy import Hierarchy
from swarm.kvcache.loss import Losses
from swarm.kvcache.rules import CacheRules
from swarm.kvcache.states import StateRules
from swarm.kvcache.tier import Tier


def build_fleet(config: FleetConfig) -> Fleet:
    """Return a fleet with nothing in it.

    Raises:
        ConfigError: The replicas' roles or the tiers do not make a fleet.
    """
    places = _places(config)
    costs = {id(group): rank_cost(config, group) for group in config.replicas}
    kv_bytes_per_token = max(cost.kv_bytes_per_token for cost in costs.values())
    rules = CacheRules(
        block_tokens=config.block_tokens,
        block_bytes=math.ceil(kv_bytes_per_token * config.block_tokens),
        hit_leaves_a_token=True,
        partial_blocks=True,
    )
    states = state_rules(config)
    tiers = with_capacities(config, rules, places, costs)
    memories = Memories(tiers, rules, config.links, states)
    agenda = Agenda()
    traffic = _traffic(config, places, costs, memories, agenda)
    hbms = [
        [
            memories.hbm(place, costs[id(place.group)].kv_capacity_tokens)
            for _ in range(place.group.parallelism.dp)
        ]
        for place in places
    ]
    every_hbm = [hbm for row in hbms for hbm in row]
    check_room(states, every_hbm)
    losses = _losses(config, places, memories, hbms)
    uses = Uses()
    entrances: list[Rank] = []
    ranks: list[Rank] = []
    for place, row in zip(places, hbms, strict=True):
        for index, hbm in enumerate(row):
            below = memories.below(place, index)
            hierarchy = Hierarchy(tiers=[hbm, *below], rules=rules, uses=uses, losses=losses, states=states)
            cost = costs[id(place.group)]
            upkeep = memories.upkeep(place, index, layers=cost.layers, kv_shards=cost.kv_shards)
            rank = _rank(config, place, with_upkeep(cost, upkeep), hierarchy, agenda, traffic)
            decodes_only = place.group.role == "decode"
            traffic.add_rank(rank, decodes_only=decodes_only)
            ranks.append(rank)
            if not decodes_only:
                entrances.append(rank)
    return Fleet(
        ranks=ranks,
        entrances=entrances,
        router=router_of(config),
        traffic=traffic,
        losses=losses,
        limits=_limits(config, every_hbm, states),
        plans=plans_of(config.provider),
        agenda=agenda,
    )


def _traffic(
    config: FleetConfig,
    places: Sequence[RankPlace],
    costs: Mapping[int, RankCost],
    memories: Memories,
    agenda: Agenda,
) -> Traffic:
    """Return the traffic over all lanes between the replicas and to their memories; costs are by group."""
    reaches = [
        memories.reach(place, rank, layers=cost.layers, kv_shards=cost.kv_shards)
        for place in places
        for cost in [costs[id(place.group)]]
        for rank in range(place.group.parallelism.dp)
    ]
    between = kv_lanes(config, places, memories)
    lanes = {
        id(lane): lane for reach in reaches for lane in (*reach.reads, *reach.writes) if lane is not None
    }
    return Traffic(
        network=Network([*lanes.values(), *between.values()]),
        reaches=reaches,
        kv_lanes=between,
        decode_router=router_of(config),
        kv_bytes_per_token=max(cost.kv_bytes_per_token for cost in costs.values()),
        recomputes_when_faster=config.recompute_when_faster,
        agenda=agenda,
    )


def _losses(
    config: FleetConfig, places: Sequence[RankPlace], memories: Memories, hbms: Sequence[Sequence[Tier]]
) -> Losses:
    """Return what explains lost hits, over all memories; nothing is sent to ranks that only decode."""
    asked = [
        tier
        for place, row in zip(places, hbms, strict=True)
        if place.group.role != "decode"
        for rank, hbm in enumerate(row)
        for tier in (hbm, *memories.below(place, rank))
    ]
    every_hbm = [hbm for row in hbms for hbm in row]
    return Losses(
        block_tokens=config.block_tokens,
        tiers=[*every_hbm, *memories.shared],
        asked=list(dict.fromkeys(asked)),
    )


def _rank(
    config: FleetConfig,
    place: RankPlace,
    cost: RankCost,
    hierarchy: Hierarchy,
    agenda: Agenda,
    traffic: Traffic,
) -> Rank:
    group = place.group
    return Rank(
        replica=place.replica,
        cost=cost.cost,
        entry=cost.entry,
        hierarchy=hierarchy,
        max_batched_tokens=group.max_batched_tokens,
        max_sequences=min(group.max_sequences, group.max_batched_tokens),
        assumed_reply_tokens=config.router_reply_tokens,
        hands_over=group.role == "prefill",
        agenda=agenda,
        surroundings=traffic,
    )


def _limits(config: FleetConfig, hbms: Sequence[Tier], states: StateRules | None) -> FleetLimits:
    """Return what the fleet refuses; a fleet whose ranks only prefill gives no second token."""
    roles = {group.role for group in config.replicas}
    return FleetLimits(
        max_model_len=max_model_len(config),
        pool_tokens=(
            min((hbm.spec.capacity_blocks or math.inf) - hbm.pin_limit for hbm in hbms)
            - (0 if states is None else states.room_blocks)
        )
        * config.block_tokens,
        max_waiting=config.max_waiting,
        output_tokens_max=1 if "prefill" in roles and "decode" not in roles else math.inf,
        retry_after_s=config.retry_after_s,
    )


def _places(config: FleetConfig) -> list[RankPlace]:
    roles = {group.role for group in config.replicas}
    if "decode" in roles and "prefill" not in roles:
        raise ConfigError(f"fleet.replicas: roles {sorted(roles)} asked; decode instances need prefill ones")
    places: list[RankPlace] = []
    node = first_rank = 0
    for group in config.replicas:
        for index in range(group.count):
            if index and index % group.per_node == 0:
                node += 1
            places.append(RankPlace(len(places), node, group, first_rank, host_bytes_per_s(config, group)))
            first_rank += group.parallelism.dp
        node += 1
    return places
