"""What a reader of an emulated fleet's numbers must know: what was never measured, and what extrapolates."""

from __future__ import annotations

from swarm.config.fleet import FleetConfig, RooflineCostConfig
from swarm.fleet.catalog.read import constants, find_gpu, find_model


def validation_notes(config: FleetConfig, longest_computed_tokens: int) -> list[str]:
    """Return a sentence for each; none for a fleet with stated rates."""
    cost = config.cost
    if not isinstance(cost, RooflineCostConfig):
        return []
    model = find_model(cost.model)
    notes = []
    if not model.measured:
        notes.append(f"unvalidated: no measurement of {model.name} was there to check its cost against")
    for gpu in sorted({find_gpu(group.gpu) for group in config.replicas}, key=lambda gpu: gpu.name):
        if not gpu.measured:
            notes.append(f"unvalidated: no measurement on {gpu.name} was there to check its cost against")
    if any(group.parallelism.dp > 1 or group.parallelism.pp > 1 for group in config.replicas):
        notes.append("unvalidated: no measurement with dp or pp above 1 was there to check the cost against")
    longest = constants().measured_tokens_max
    if longest_computed_tokens > longest:
        notes.append(
            f"extrapolated: up to {longest_computed_tokens} tokens of one prompt were computed, "
            f"the longest measured is {longest}"
        )
    return notes
