"""A price list for tokens, with prompt caching as providers sell it."""

from pydantic import Field

from swarm.config.strict import Strict


class CacheWriteConfig(Strict):
    """What keeping a token for a time costs."""

    ttl_s: float = Field(gt=0, description="how long a written token is kept")
    per_mtok: float = Field(ge=0, description="price of a million tokens kept so long")


class PricesConfig(Strict):
    """Prices of a million tokens; the defaults are relative to an uncached input token."""

    currency: str = Field(
        "price of 1M uncached input tokens", description="what the prices are in; shown with them"
    )
    input_per_mtok: float = Field(1.0, ge=0, description="a million input tokens that are computed")
    output_per_mtok: float = Field(5.0, ge=0, description="a million output tokens")
    cache_read_per_mtok: float = Field(0.1, ge=0, description="a million input tokens read from the cache")
    cache_writes: tuple[CacheWriteConfig, ...] = (
        CacheWriteConfig(ttl_s=300.0, per_mtok=1.25),
        CacheWriteConfig(ttl_s=3600.0, per_mtok=2.0),
    )
