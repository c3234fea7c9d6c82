"""How many tokens a fleet's model takes, prompt and reply together."""

from __future__ import annotations

from swarm.config.fleet import FleetConfig, RooflineCostConfig
from swarm.fleet.catalog.read import find_model

MODEL_LEN_DEFAULT = 1_048_576
"""Where a fleet has stated rates instead of a model, and names no length."""


def max_model_len(config: FleetConfig) -> int:
    """Return the most tokens of one request: what the fleet names, else its model's context length."""
    if config.max_model_len is not None:
        return config.max_model_len
    if isinstance(config.cost, RooflineCostConfig):
        return find_model(config.cost.model).context_tokens
    return MODEL_LEN_DEFAULT
