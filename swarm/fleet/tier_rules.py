"""Tiers that contradict themselves, and what a tier does in words."""

from __future__ import annotations

from collections.abc import Sequence

from swarm.config.fleet import TierConfig, WatermarkConfig
from swarm.config.transfers import TransferConfig
from swarm.errors import ConfigError

OF_TIERS_BELOW = (
    "inclusive",
    "read_gib_per_s",
    "write_gib_per_s",
    "read_latency_s",
    "write_latency_s",
    "write_policy",
    "link_gib_per_s",
    "write_queue_gib",
)
"""Keys of a tier that HBM has no use for, besides those that are told apart below."""


def check_tiers(tiers: Sequence[TierConfig], block_tokens: int) -> None:
    """Refuse keys that have no effect, or that no engine could follow; HBM is the first.

    Raises:
        ConfigError: A tier contradicts itself.
    """
    _check_hbm(tiers[0])
    for tier in tiers:
        problem = _contradiction(tier, block_tokens)
        if problem is not None:
            raise ConfigError(f"fleet.tiers {tier.name}: {problem}")


def _check_hbm(hbm: TierConfig) -> None:
    if hbm.scope not in ("replica", "rank"):
        raise ConfigError(
            f"fleet.tiers hbm: scope {hbm.scope!r} asked; HBM is its replica's, set it to 'replica'"
        )
    if hbm.eviction != "lru":
        raise ConfigError(
            f"fleet.tiers hbm: eviction {hbm.eviction!r} asked; engines evict HBM by last use, leaves first, "
            "set it to 'lru'"
        )
    if hbm.connector is not None or hbm.transfers != TransferConfig():
        raise ConfigError(
            "fleet.tiers hbm: connector or transfers asked; they are of the tiers below, state them there"
        )
    stated = [name for name in OF_TIERS_BELOW if getattr(hbm, name) != TierConfig.model_fields[name].default]
    if stated:
        raise ConfigError(
            f"fleet.tiers hbm: {', '.join(stated)} asked; nothing is moved within HBM, state it of the tiers "
            "below"
        )
    if hbm.write is not None or hbm.write_threshold is not None:
        raise ConfigError("fleet.tiers hbm: write is of the tiers below; HBM holds what is computed")


def _contradiction(tier: TierConfig, block_tokens: int) -> str | None:
    """Return what is wrong with a tier; None if nothing is."""
    watermark, pinned = tier.watermark, tier.pinned
    if watermark is not None and tier.eviction != "watermark":
        return (
            f"watermark asked with eviction {tier.eviction!r}; set eviction to 'watermark', or leave it out"
        )
    has_room = tier.name == "hbm" or tier.is_limited
    if tier.eviction != "lru" and not has_room:
        return (
            f"eviction {tier.eviction!r} asked without a capacity, so nothing is evicted; state capacity_gib"
        )
    if pinned is not None and not has_room:
        return "pinned asked without a capacity, so nothing is evicted; state capacity_gib"
    if pinned is not None and pinned.tokens < block_tokens:
        return f"pinned.tokens {pinned.tokens} are no whole block of {block_tokens} tokens"
    if watermark is not None and 0 < watermark.soft_pin_tokens < block_tokens:
        tokens = watermark.soft_pin_tokens
        return f"watermark.soft_pin_tokens {tokens} are no whole block of {block_tokens} tokens"
    if tier.write in ("write_through", "write_through_selective") and not tier.inclusive:
        return (
            f"write {tier.write!r} asked with inclusive: false; a tier that gives up what is promoted "
            "is written back, set write to 'write_back' or inclusive to true"
        )
    if tier.write_threshold is not None and tier.write != "write_through_selective":
        return (
            f"write_threshold {tier.write_threshold} asked; it is of write: write_through_selective, "
            "set that or leave it out"
        )
    idle = _idle_transfers(tier)
    if idle:
        return (
            f"transfers.{', '.join(idle)} asked, but no object takes a time of its own; state "
            "transfers.object_s or stream_gib_per_s too"
        )
    if tier.name != "hbm" and tier.transfers.store == "block" and tier.write_mode != "write_through":
        return (
            f"transfers.store 'block' asked with write {tier.write_mode!r}, by which no step copies what it "
            "computes; set write to 'write_through', or leave store out"
        )
    return None


def _idle_transfers(tier: TierConfig) -> list[str]:
    """Return keys of objects and streams that nothing gives a time; a stated 0 is one, as in a sweep."""
    stated = tier.transfers
    if tier.connector is not None or stated.object_s is not None or stated.stream_gib_per_s is not None:
        return []
    named = ("object_tokens", "objects_by_layer", "streams", "streams_shared")
    return [name for name in named if getattr(stated, name) is not None]


def in_words(tier: TierConfig) -> str:
    """Return what is stated of a tier's eviction, pins and writes, on one line."""
    said: list[str] = [tier.eviction]
    if tier.eviction == "watermark":
        rule = tier.watermark or WatermarkConfig()
        said[0] = (
            f"watermark (over {rule.eviction_high_watermark_ratio:.0%} of the capacity "
            f"{rule.eviction_ratio:.0%} leave, leases of {rule.kv_lease_ttl_s:g} s)"
        )
    if tier.pinned is not None:
        said.append(f"first {tier.pinned.tokens:,} tokens pinned, up to {tier.pinned.share:.0%} of it")
    if tier.name != "hbm":
        write: str = tier.write_mode
        if write == "write_through_selective":
            write += f" from use {tier.write_threshold or 2} on"
        said += [write, f"one a {tier.scope}"]
    return f"{tier.name}: {', '.join(said)}"
