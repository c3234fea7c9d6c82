"""From a fleet's configuration to its memories: the tiers that each replica reaches, and their lanes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from swarm.config.fleet import FleetConfig, TierConfig, WatermarkConfig
from swarm.config.transfers import LinksConfig
from swarm.errors import ConfigError
from swarm.fleet.tier_rules import check_tiers
from swarm.fleet.traffic import Reach
from swarm.fleet.transfers.links import Crossed, Links, RankPlace, both_ways
from swarm.fleet.transfers.network import Lane, Pipe
from swarm.fleet.transfers.objects import Objects
from swarm.fleet.transfers.ways import Copying, Upkeep, copying_of
from swarm.hit_names import TIERS
from swarm.kvcache.evictions import new_tier
from swarm.kvcache.policy import TierPolicy, Watermark
from swarm.kvcache.rules import CacheRules
from swarm.kvcache.states import StateRules, StateTier
from swarm.kvcache.tier import Tier, TierSpec
from swarm.units import GIB


class Memories:
    """The tier instances of a fleet and the lanes to them, made when first asked for."""

    def __init__(
        self,
        configs: list[TierConfig],
        rules: CacheRules,
        links: LinksConfig,
        states: StateRules | None,
    ) -> None:
        self._hbm_config, self._configs = configs[0], configs[1:]
        self._copied: dict[tuple[int, float], list[Copying]] = {}
        self._links = Links(links)
        self._rules = rules
        self._states = states
        self._tiers: dict[tuple[str, int], Tier] = {}
        self._pipes: dict[str, Pipe] = {}
        self._lanes: dict[tuple[tuple[Pipe, ...], float, int, str | None], Lane] = {}

    @property
    def shared(self) -> list[Tier]:
        """Every tier instance below HBM."""
        return list(self._tiers.values())

    def hbm(self, place: RankPlace, kv_capacity_tokens: int) -> Tier:
        """Return a new HBM for one rank."""
        capacity_gib = self._hbm_config.capacity_gib
        blocks = kv_capacity_tokens // self._rules.block_tokens
        if capacity_gib is not None:
            blocks = int(capacity_gib * GIB / place.group.parallelism.dp) // self._rules.block_bytes
        if blocks < 1:
            raise ConfigError(
                f"fleet.tiers hbm: the KV pool of replica {place.replica} holds {blocks} blocks of "
                f"{self._rules.block_bytes} bytes; give it more memory or smaller blocks"
            )
        return self._new(_spec(self._hbm_config, blocks, self._rules))

    def _new(self, spec: TierSpec) -> Tier:
        """Return an empty tier; of a model with layers that keep a state, one that holds states as well."""
        return new_tier(spec) if self._states is None else StateTier(spec, self._states.blocks)

    def below(self, place: RankPlace, rank: int) -> list[Tier]:
        """Return the tiers below HBM that a replica's rank reaches."""
        tiers: list[Tier] = []
        for config in self._configs:
            key = (config.name, instance_of(config, place, rank))
            if key not in self._tiers:
                gib = config.capacity_gib
                blocks = None if gib is None else int(gib * GIB) // self._rules.block_bytes
                if blocks == 0:
                    raise ConfigError(
                        f"fleet.tiers {config.name}: its capacity holds no block of "
                        f"{self._rules.block_bytes} bytes; give it more memory, make blocks smaller, or "
                        "leave the tier out"
                    )
                self._tiers[key] = self._new(self._timed(config, place, _spec(config, blocks, self._rules)))
            tiers.append(self._tiers[key])
        return tiers

    def reach(self, place: RankPlace, rank: int, *, layers: int, kv_shards: float) -> Reach:
        """Return the lanes of one of a replica's ranks to its tiers."""
        self.below(place, rank)
        reads: list[Lane | None] = [None]
        writes: list[Lane | None] = [None]
        copyings = self._copyings(layers, kv_shards)
        for config, copying in zip(self._configs, copyings, strict=True):
            name = f"{config.name}[{instance_of(config, place, rank)}]"
            link = f"{config.name} link of replica {place.replica}"
            rates = [rate for rate in (config.read_gib_per_s, config.write_gib_per_s) if rate is not None]
            both = max(rates, default=None), copying.both_ways
            leaves_node = config.scope == "cluster"
            for lanes, does, side, gib_per_s, latency_s in (
                (reads, "read", "in", config.read_gib_per_s, config.read_latency_s),
                (writes, "write", "out", config.write_gib_per_s, config.write_latency_s),
            ):
                crossed = [
                    *both_ways(name, does, gib_per_s, *both),
                    *both_ways(link, does, config.link_gib_per_s, config.link_gib_per_s, copying.both_ways),
                    *self._links.crossed(
                        place,
                        rank,
                        kv_shards=kv_shards,
                        leaves_node=leaves_node,
                        direction=side,
                        assumes_pcie=_assumes_pcie(config),
                    ),
                ]
                shared = (
                    f"{config.name} streams {place.replica}.{rank} {side}" if copying.streams_shared else None
                )
                lanes.append(self._lane(crossed, latency_s, copying.objects, shared))
        modes = [copying.load for copying in copyings]
        return Reach(
            tuple(reads),
            tuple(writes),
            (False, *(mode != "beside" for mode in modes)),
            (False, *(mode == "layers" for mode in modes)),
            (0.0, *(copying.step_slowdown for copying in copyings)),
            layers,
        )

    def upkeep(self, place: RankPlace, rank: int, *, layers: int, kv_shards: float) -> Upkeep:
        """Return what one of a replica's ranks spends on its tiers besides its loads."""
        reach = self.reach(place, rank, layers=layers, kv_shards=kv_shards)
        spread = place.group.parallelism
        look_up_s = step_s = token_s = 0.0
        copyings = self._copyings(layers, kv_shards)
        for config, copying, lane in zip(self._configs, copyings, reach.writes[1:], strict=True):
            look_up_s += copying.look_up_s
            if spread.tp * spread.pp > 1:
                step_s += copying.step_s
            if copying.store == "block" and config.write_mode == "write_through" and lane is not None:
                token_bytes = self._rules.block_bytes / self._rules.block_tokens
                token_s += token_bytes / min(lane.least_bytes_per_s, lane.most_bytes_per_s)
        return Upkeep(look_up_s, step_s, token_s)

    def between(self, place: RankPlace, other: RankPlace) -> list[Pipe]:
        """Return the network cards that KV from one replica to another crosses."""
        return self._pipes_of(self._links.between(place.node, other.node))

    def _timed(self, config: TierConfig, place: RankPlace, spec: TierSpec) -> TierSpec:
        """Return a tier whose writes are known to take time where links or streams on their way make them."""
        token_bytes = self._rules.block_bytes / self._rules.block_tokens
        objects = copying_of(config, token_bytes=token_bytes, layers=1, kv_shards=1.0).objects
        least_bytes_per_s = self._links.least_bytes_per_s(
            place, leaves_node=config.scope == "cluster", assumes_pcie=_assumes_pcie(config)
        )
        rates = [spec.write_bytes_per_s, least_bytes_per_s]
        if objects is not None:
            rates.append(objects.bytes_per_s)
        least = min((rate for rate in rates if rate is not None), default=math.inf)
        object_s = 0.0 if objects is None else objects.object_s
        return replace(
            spec,
            write_bytes_per_s=None if least == math.inf else least,
            write_latency_s=spec.write_latency_s + object_s,
        )

    def _copyings(self, layers: int, kv_shards: float) -> list[Copying]:
        """Return how each tier's blocks are copied: the same objects for ranks that are alike."""
        if (layers, kv_shards) not in self._copied:
            token_bytes = self._rules.block_bytes / self._rules.block_tokens
            self._copied[layers, kv_shards] = [
                copying_of(config, token_bytes=token_bytes, layers=layers, kv_shards=kv_shards)
                for config in self._configs
            ]
        return self._copied[layers, kv_shards]

    def _lane(self, crossed: Crossed, latency_s: float, objects: Objects | None, shared: str | None) -> Lane:
        """Return the lane over these pipes, and over the streams that all its loads share (`shared`)."""
        pipes = self._pipes_of(crossed)
        key = (tuple(pipes), latency_s, id(objects), shared)
        if key not in self._lanes:
            if objects is not None:
                objects = objects.within(min((pipe.bytes_per_s for pipe in pipes), default=math.inf))
                if shared is not None and objects.bytes_per_s < math.inf:
                    pipes.append(Pipe(shared, objects.bytes_per_s))
            self._lanes[key] = Lane(pipes, latency_s, objects)
        return self._lanes[key]

    def _pipes_of(self, crossed: Crossed) -> list[Pipe]:
        pipes: list[Pipe] = []
        for name, gib_per_s in crossed:
            if gib_per_s is not None:
                if name not in self._pipes:
                    self._pipes[name] = Pipe(name, gib_per_s * GIB)
                pipes.append(self._pipes[name])
        return pipes


def _assumes_pcie(config: TierConfig) -> bool:
    """Return whether a real engine moves a tier's blocks, over a link of which nothing is stated."""
    return config.connector is not None and config.link_gib_per_s is None


def tier_configs(config: FleetConfig) -> list[TierConfig]:
    """Return the tiers from HBM down."""
    names = [tier.name for tier in config.tiers]
    if len(set(names)) < len(names):
        raise ConfigError(f"fleet.tiers: {names} asked; each tier may be there once")
    tiers = sorted(config.tiers, key=lambda tier: TIERS.index(tier.name))
    if tiers[0].name != "hbm":
        tiers.insert(0, TierConfig(name="hbm"))
    check_tiers(tiers, config.block_tokens)
    return tiers


def instance_of(config: TierConfig, place: RankPlace, rank: int) -> int:
    """Return which instance of a tier a rank of a replica reaches."""
    instances = {
        "rank": place.first_rank + rank,
        "replica": place.replica,
        "node": place.node,
        "cluster": 0,
    }
    return instances[config.scope]


def _policy(config: TierConfig, capacity_blocks: int | None, rules: CacheRules) -> TierPolicy:
    watermark = None
    if config.eviction == "watermark":
        asked = config.watermark or WatermarkConfig()
        watermark = Watermark(
            high_ratio=asked.eviction_high_watermark_ratio,
            evict_ratio=asked.eviction_ratio,
            lease_s=asked.kv_lease_ttl_s,
            soft_pin_blocks=asked.soft_pin_tokens // rules.block_tokens,
            soft_pin_s=asked.kv_soft_pin_ttl_s,
        )
    pinned = config.pinned
    pin_limit = 0 if pinned is None or capacity_blocks is None else int(pinned.share * capacity_blocks)
    if pinned is not None and not pin_limit:
        raise ConfigError(
            f"fleet.tiers {config.name}: pinned.share {pinned.share:g} of {capacity_blocks} blocks is no "
            "whole block; give it a larger share or the tier more memory"
        )
    return TierPolicy(
        eviction=config.eviction,
        watermark=watermark,
        pin_blocks=0 if pinned is None else pinned.tokens // rules.block_tokens,
        pin_limit=pin_limit,
        write=config.write_mode,
        write_threshold=config.write_threshold or 2,
    )


def _spec(config: TierConfig, capacity_blocks: int | None, rules: CacheRules) -> TierSpec:
    return TierSpec(
        name=config.name,
        capacity_blocks=capacity_blocks,
        ttl_s=config.ttl_s,
        scope=config.scope,
        inclusive=config.inclusive,
        policy=_policy(config, capacity_blocks, rules),
        read_bytes_per_s=None if config.read_gib_per_s is None else config.read_gib_per_s * GIB,
        write_bytes_per_s=None if config.write_gib_per_s is None else config.write_gib_per_s * GIB,
        read_latency_s=config.read_latency_s,
        write_latency_s=config.write_latency_s,
        write_policy=config.write_policy,
        write_queue_bytes=config.write_queue_gib * GIB,
    )


def kv_lanes(
    config: FleetConfig, places: Sequence[RankPlace], memories: Memories
) -> dict[tuple[int, int], Lane]:
    """Return the lanes between prefill and decode replicas: out of the one's link, into the other's."""
    rate = config.kv_link_gib_per_s * GIB
    links = {
        place.replica: Pipe(f"kv link {place.replica}", rate)
        for place in places
        if place.group.role != "aggregated"
    }
    return {
        (sender.replica, receiver.replica): Lane(
            [links[sender.replica], links[receiver.replica], *memories.between(sender, receiver)],
            config.kv_link_latency_s,
        )
        for sender in places
        if sender.group.role == "prefill"
        for receiver in places
        if receiver.group.role == "decode"
    }
