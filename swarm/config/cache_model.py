"""A prefix cache that the target is believed to have, to be held against what it reports."""

from pydantic import Field

from swarm.config.strict import Strict


class CacheModelConfig(Strict):
    """One pool with LRU eviction and a sliding TTL."""

    capacity_tokens: int | None = Field(None, ge=1, description="of all replicas together; null: no limit")
    ttl_s: float | None = Field(None, gt=0, description="since the last use; null: none")
    hit_leaves_a_token: bool = Field(
        True, description="a hit never covers a whole prompt: its last token must be computed (vLLM)"
    )
