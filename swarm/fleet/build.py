"""From a fleet's configuration to the fleet: which ranks, memories and lanes there are."""

from __future__ import annotations

import math
from dataclasses import dataclass

from swarm.config.catalog import LinearEntry
from swarm.config.fleet import FleetConfig, ReplicaGroupConfig, RooflineCostConfig, TierConfig
from swarm.errors import ConfigError
from swarm.fleet.catalog.read import constants, find_gpu, find_model
from swarm.fleet.context_length import max_model_len
from swarm.fleet.cost import KV_BYTES, Roofline, Served, kv_capacity_tokens, terms_of
from swarm.fleet.events import Event
from swarm.fleet.fleet import Fleet, FleetLimits
from swarm.fleet.model import kv_values_per_token
from swarm.fleet.provider import provider_of
from swarm.fleet.rank import Rank
from swarm.fleet.rates import Cost, Entry
from swarm.fleet.router import ROUTERS
from swarm.fleet.sequence import Sequence
from swarm.fleet.simple_cost import SimpleCost
from swarm.fleet.traffic import Reach, Traffic
from swarm.fleet.transfer import Lane, Network, Pipe
from swarm.kvcache.hierarchy import Hierarchy
from swarm.kvcache.loss import Losses
from swarm.kvcache.moves import CacheRules
from swarm.kvcache.prefix import Uses
from swarm.kvcache.tier import TIER_ORDER, Tier, TierSpec
from swarm.units import GIB


@dataclass(frozen=True, slots=True)
class RankCost:
    """What one rank of a group costs, and what its memory leaves for KV."""

    cost: Cost
    kv_bytes_per_token: float
    kv_capacity_tokens: int
    entry: Entry


@dataclass(frozen=True, slots=True)
class Place:
    """One replica: where it is, and of what group."""

    replica: int
    node: int
    group: ReplicaGroupConfig


def build_fleet(config: FleetConfig) -> Fleet:
    """Return a fleet with nothing in it.

    Raises:
        ConfigError: The replicas' roles or the tiers do not make a fleet.
    """
    places = _places(config)
    tiers = _tier_configs(config)
    costs = {id(group): rank_cost(config, group) for group in config.replicas}
    kv_bytes_per_token = max(cost.kv_bytes_per_token for cost in costs.values())
    rules = CacheRules(
        block_tokens=config.block_tokens,
        block_bytes=math.ceil(kv_bytes_per_token * config.block_tokens),
        hit_leaves_a_token=True,
        partial_blocks=True,
    )
    memories = Memories(tiers, rules)
    reaches = [memories.reach(place) for place in places]
    kv_lanes = _kv_lanes(config, places)
    lanes = {
        id(lane): lane for reach in reaches for lane in (*reach.reads, *reach.writes) if lane is not None
    }
    due = [math.inf]
    events: list[Event] = []
    sequences: dict[int, Sequence] = {}
    router = ROUTERS[config.router]
    traffic = Traffic(
        network=Network([*lanes.values(), *kv_lanes.values()]),
        reaches=reaches,
        kv_lanes=kv_lanes,
        decode_router=router(),
        kv_bytes_per_token=kv_bytes_per_token,
        recomputes_when_faster=config.recompute_when_faster,
        due=due,
    )
    hbms = [
        [memories.hbm(place, costs[id(place.group)]) for _ in range(place.group.parallelism.dp)]
        for place in places
    ]
    losses = Losses(
        block_tokens=config.block_tokens, tiers=[*(hbm for row in hbms for hbm in row), *memories.shared]
    )
    uses = Uses()
    ranks: list[Rank] = []
    entrances: list[Rank] = []
    for place, row in zip(places, hbms, strict=True):
        for hbm in row:
            group = place.group
            rank = Rank(
                place=len(due),
                replica=place.replica,
                cost=costs[id(group)].cost,
                entry=costs[id(group)].entry,
                hierarchy=Hierarchy(
                    tiers=[hbm, *memories.below(place)], rules=rules, uses=uses, losses=losses
                ),
                max_batched_tokens=group.max_batched_tokens,
                max_sequences=min(group.max_sequences, group.max_batched_tokens),
                assumed_reply_tokens=config.router_reply_tokens,
                hands_over=group.role == "prefill",
                due=due,
                events=events,
                surroundings=traffic,
                sequences=sequences,
            )
            due.append(math.inf)
            ranks.append(rank)
            (traffic.decoders if group.role == "decode" else entrances).append(rank)
    return Fleet(
        ranks=ranks,
        entrances=entrances,
        router=router(),
        traffic=traffic,
        losses=losses,
        limits=FleetLimits(
            max_model_len=max_model_len(config),
            pool_tokens=min((hbm.spec.capacity_blocks or math.inf) for row in hbms for hbm in row)
            * config.block_tokens,
            max_waiting=config.max_waiting,
            output_tokens_max=math.inf if traffic.decoders or not _prefills(places) else 1,
            retry_after_s=config.retry_after_s,
        ),
        provider=provider_of(config.provider),
        sequences=sequences,
        due=due,
        events=events,
    )


def rank_cost(config: FleetConfig, group: ReplicaGroupConfig) -> RankCost:
    """Return what a rank of a group costs.

    Raises:
        ConfigError: A model or GPU is in no catalogue, or the weights leave no room for KV.
    """
    cost = config.cost
    if isinstance(cost, RooflineCostConfig):
        return roofline_cost(cost, group)
    return RankCost(
        SimpleCost(
            prefill_tokens_per_s=cost.prefill_tokens_per_s,
            decode_base_s=cost.decode_base_s,
            decode_per_sequence_s=cost.decode_per_sequence_s,
            decode_per_context_token_s=cost.decode_per_context_token_s,
        ),
        cost.kv_bytes_per_token,
        cost.kv_capacity_tokens // group.parallelism.dp,
        Entry(cost.entry_s, 0.0, 0.0),
    )


def roofline_cost(cost: RooflineCostConfig, group: ReplicaGroupConfig) -> RankCost:
    """Return what a rank costs by its model's and its GPU's catalogue entries."""
    served = Served(
        model=find_model(cost.model),
        gpu=find_gpu(group.gpu),
        parallelism=group.parallelism,
        precision=cost.precision,
        kv_precision=cost.kv_precision,
        backend=cost.backend,
    )
    _check_heads(served)
    fitted = constants()
    capacity = kv_capacity_tokens(
        served, fitted, memory_fraction=cost.memory_fraction, max_batched_tokens=group.max_batched_tokens
    )
    if capacity < 1:
        spread = group.parallelism
        raise ConfigError(
            f"fleet.cost: {served.model.name} in {cost.precision} leaves no HBM for KV on "
            f"{spread.tp * spread.pp * spread.dp} x {served.gpu.name} at memory_fraction "
            f"{cost.memory_fraction}; give more GPUs (parallelism), a smaller precision or a larger GPU"
        )
    return RankCost(
        Roofline(terms_of(served, fitted)),
        kv_values_per_token(served.model) * KV_BYTES[cost.kv_precision],
        capacity,
        Entry(fitted.entry_s[cost.backend], fitted.entry_steps[cost.backend], fitted.entry_token_s),
    )


def _check_heads(served: Served) -> None:
    """Refuse what no engine runs: attention heads that cannot be dealt out evenly."""
    tp = served.parallelism.tp
    for layer in served.model.attention:
        if not isinstance(layer, LinearEntry) and layer.heads % tp:
            raise ConfigError(
                f"fleet.replicas.parallelism.tp: {tp} GPUs asked for, {served.model.name} has {layer.heads} "
                "attention heads: tp must divide them"
            )


class Memories:
    """The tier instances of a fleet and the lanes to them, made when first asked for."""

    def __init__(self, configs: list[TierConfig], rules: CacheRules) -> None:
        self._hbm_config, self._configs = configs[0], configs[1:]
        self._rules = rules
        self._tiers: dict[tuple[str, int], Tier] = {}
        self._pipes: dict[str, Pipe] = {}
        self._lanes: dict[tuple[tuple[Pipe, ...], float], Lane] = {}

    @property
    def shared(self) -> list[Tier]:
        """Every tier instance below HBM."""
        return list(self._tiers.values())

    def hbm(self, place: Place, cost: RankCost) -> Tier:
        """Return a new HBM for one rank."""
        capacity_gib = self._hbm_config.capacity_gib
        blocks = cost.kv_capacity_tokens // self._rules.block_tokens
        if capacity_gib is not None:
            blocks = int(capacity_gib * GIB / place.group.parallelism.dp) // self._rules.block_bytes
        if blocks < 1:
            raise ConfigError(
                f"fleet.tiers hbm: the KV pool of replica {place.replica} holds {blocks} blocks of "
                f"{self._rules.block_bytes} bytes; give it more memory or smaller blocks"
            )
        return Tier(_spec(self._hbm_config, blocks))

    def below(self, place: Place) -> list[Tier]:
        """Return the tiers below HBM that a replica reaches."""
        tiers: list[Tier] = []
        for config in self._configs:
            key = (config.name, _instance(config, place))
            if key not in self._tiers:
                gib = config.capacity_gib
                blocks = None if gib is None else int(gib * GIB) // self._rules.block_bytes
                self._tiers[key] = Tier(_spec(config, blocks))
            tiers.append(self._tiers[key])
        return tiers

    def reach(self, place: Place) -> Reach:
        """Return a replica's lanes to its tiers."""
        reads: list[Lane | None] = [None]
        writes: list[Lane | None] = [None]
        self.below(place)
        for config in self._configs:
            name = f"{config.name}[{_instance(config, place)}]"
            link = f"{name}-{place.replica}"
            reads.append(
                self._lane(
                    [
                        (f"{name} read", config.read_gib_per_s),
                        (f"{link} read", config.link_gib_per_s),
                    ],
                    config.read_latency_s,
                )
            )
            writes.append(
                self._lane(
                    [
                        (f"{name} write", config.write_gib_per_s),
                        (f"{link} write", config.link_gib_per_s),
                    ],
                    config.write_latency_s,
                )
            )
        return Reach(tuple(reads), tuple(writes))

    def _lane(self, crossed: list[tuple[str, float | None]], latency_s: float) -> Lane:
        pipes: list[Pipe] = []
        for name, gib_per_s in crossed:
            if gib_per_s is not None:
                if name not in self._pipes:
                    self._pipes[name] = Pipe(name, gib_per_s * GIB)
                pipes.append(self._pipes[name])
        key = (tuple(pipes), latency_s)
        if key not in self._lanes:
            self._lanes[key] = Lane(pipes, latency_s)
        return self._lanes[key]


def _places(config: FleetConfig) -> list[Place]:
    roles = {group.role for group in config.replicas}
    if "decode" in roles and "prefill" not in roles:
        raise ConfigError(f"fleet.replicas: roles {sorted(roles)} asked; decode instances need prefill ones")
    places: list[Place] = []
    node = 0
    for group in config.replicas:
        for index in range(group.count):
            if index and index % group.per_node == 0:
                node += 1
            places.append(Place(len(places), node, group))
        node += 1
    return places


def _prefills(places: list[Place]) -> bool:
    return any(place.group.role == "prefill" for place in places)


def _tier_configs(config: FleetConfig) -> list[TierConfig]:
    """Return the tiers from HBM down."""
    names = [tier.name for tier in config.tiers]
    if len(set(names)) < len(names):
        raise ConfigError(f"fleet.tiers: {names} asked; each tier may be there once")
    tiers = sorted(config.tiers, key=lambda tier: TIER_ORDER.index(tier.name))
    if tiers[0].name != "hbm":
        tiers.insert(0, TierConfig(name="hbm"))
    if tiers[0].scope != "replica":
        raise ConfigError(
            f"fleet.tiers hbm: scope {tiers[0].scope!r} asked; HBM is its replica's, set it to 'replica'"
        )
    return tiers


def _instance(config: TierConfig, place: Place) -> int:
    return {"replica": place.replica, "node": place.node, "cluster": 0}[config.scope]


def _spec(config: TierConfig, capacity_blocks: int | None) -> TierSpec:
    return TierSpec(
        name=config.name,
        capacity_blocks=capacity_blocks,
        ttl_s=config.ttl_s,
        scope=config.scope,
        inclusive=config.inclusive,
        eviction=config.eviction,
        read_bytes_per_s=None if config.read_gib_per_s is None else config.read_gib_per_s * GIB,
        write_bytes_per_s=None if config.write_gib_per_s is None else config.write_gib_per_s * GIB,
        read_latency_s=config.read_latency_s,
        write_latency_s=config.write_latency_s,
        write_policy=config.write_policy,
        write_queue_bytes=config.write_queue_gib * GIB,
    )


def _kv_lanes(config: FleetConfig, places: list[Place]) -> dict[tuple[int, int], Lane]:
    """Return the lanes between prefill and decode replicas: out of the one's link, into the other's."""
    rate = config.kv_link_gib_per_s * GIB
    links = {
        place.replica: Pipe(f"kv link {place.replica}", rate)
        for place in places
        if place.group.role != "aggregated"
    }
    return {
        (sender.replica, receiver.replica): Lane(
            [links[sender.replica], links[receiver.replica]], config.kv_link_latency_s
        )
        for sender in places
        if sender.group.role == "prefill"
        for receiver in places
        if receiver.group.role == "decode"
    }
