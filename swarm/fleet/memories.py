"""From a fleet's configuration to its memories: the tiers that each replica reaches, and their lanes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from swarm.config.fleet import FleetConfig, ReplicaGroupConfig, TierConfig
from swarm.errors import ConfigError
from swarm.fleet.network import Lane, Pipe
from swarm.fleet.traffic import Reach
from swarm.hit_names import TIERS
from swarm.kvcache.rules import CacheRules
from swarm.kvcache.tier import Tier, TierSpec
from swarm.units import GIB


@dataclass(frozen=True, slots=True)
class RankPlace:
    """One replica: where it is, and of what group."""

    replica: int
    node: int
    group: ReplicaGroupConfig


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
        return Tier(_spec(self._hbm_config, blocks))

    def below(self, place: RankPlace) -> list[Tier]:
        """Return the tiers below HBM that a replica reaches."""
        tiers: list[Tier] = []
        for config in self._configs:
            key = (config.name, instance_of(config, place))
            if key not in self._tiers:
                gib = config.capacity_gib
                blocks = None if gib is None else int(gib * GIB) // self._rules.block_bytes
                self._tiers[key] = Tier(_spec(config, blocks))
            tiers.append(self._tiers[key])
        return tiers

    def reach(self, place: RankPlace) -> Reach:
        """Return a replica's lanes to its tiers."""
        reads: list[Lane | None] = [None]
        writes: list[Lane | None] = [None]
        self.below(place)
        for config in self._configs:
            name = f"{config.name}[{instance_of(config, place)}]"
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


def tier_configs(config: FleetConfig) -> list[TierConfig]:
    """Return the tiers from HBM down."""
    names = [tier.name for tier in config.tiers]
    if len(set(names)) < len(names):
        raise ConfigError(f"fleet.tiers: {names} asked; each tier may be there once")
    tiers = sorted(config.tiers, key=lambda tier: TIERS.index(tier.name))
    if tiers[0].name != "hbm":
        tiers.insert(0, TierConfig(name="hbm"))
    if tiers[0].scope != "replica":
        raise ConfigError(
            f"fleet.tiers hbm: scope {tiers[0].scope!r} asked; HBM is its replica's, set it to 'replica'"
        )
    return tiers


def instance_of(config: TierConfig, place: RankPlace) -> int:
    """Return which instance of a tier a replica reaches."""
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


def kv_lanes(config: FleetConfig, places: Sequence[RankPlace]) -> dict[tuple[int, int], Lane]:
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
