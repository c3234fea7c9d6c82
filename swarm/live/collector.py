"""The garbage collector of a process that measures: it looks seldom, and never at what is there to stay."""

import gc

THRESHOLDS = (20_000, 100, 100)
"""Turns form no cycles, so nearly all that a collection finds is alive; and one of the oldest generation
stopped a host of 2,000 streams for 175 ms."""


def settle() -> None:
    """Call once when a host or a server is set up: its plan and the imports live as long as the process."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
