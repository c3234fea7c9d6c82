"""The names under which prompt tokens are accounted: tiers that served them, causes for which no tier did.

Both are orders, too: tuples and columns of counts follow them everywhere.
"""

from typing import Literal, get_args

TierName = Literal["hbm", "dram", "pooled_dram", "nvme", "posix"]
TIERS: tuple[TierName, ...] = get_args(TierName)
"""Fastest first."""

LossCause = Literal[
    "block_rounding",
    "in_flight",
    "ttl",
    "capacity",
    "routing",
    "dropped_write",
    "chosen_recompute",
    "unexplained",
]
"""What kept a prompt's tokens from being hit that a cache without limits would have hit.

- block_rounding: blocks that no hit may cover, as the last token must be computed, or (layers that keep a
  state) as no state was ever saved behind them;
- in_flight: sent, but not computed yet; or on the way to a tier, and the first block held nowhere;
- ttl: in use by nobody, and last used longer ago than any tier in reach keeps;
- capacity: held nowhere in the fleet any more;
- routing: held, but where this replica cannot reach it;
- dropped_write: would be in reach, had a tier taken a write that it dropped;
- chosen_recompute: held in reach, and computed again by choice;
- unexplained: held nowhere in a fleet that never evicted.
"""
LOST_TO: tuple[LossCause, ...] = get_args(LossCause)
"""Each is what one more limit takes from the leading run of blocks, in this order."""

TIER_COUNTS = (
    "hit_blocks",
    "offered_blocks",
    "landed_blocks",
    "dropped_blocks",
    "evicted_blocks",
    "expired_blocks",
    "promoted_blocks",
    "read_bytes",
    "written_bytes",
    "dropped_bytes",
    "blocked_writes",
)
"""What a run counts of each tier."""
