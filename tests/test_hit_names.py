"""What is drawn or counted by tier or by cause has all of them."""

from dataclasses import fields

from swarm.report.run_charts import LOST_COLORS

from swarm.hit_names import LOST_TO, TIER_COUNTS, TIERS
from swarm.kvcache.tier import TierCounters
from swarm.report import palette


def test_every_tier_and_every_cause_has_a_color() -> None:
    assert tuple(palette.TIERS) == TIERS
    assert tuple(LOST_COLORS) == LOST_TO


def test_a_tier_counts_what_a_run_tells() -> None:
    assert set(TIER_COUNTS) <= {field.name for field in fields(TierCounters)}
