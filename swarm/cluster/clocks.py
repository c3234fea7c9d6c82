"""How far the hosts' wall clocks are from the driver's: all times of a run are put on one axis by them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import ray

ROUNDS = 5
"""Questions to each host; the quickest answer tells most, as in NTP (RFC 5905, 10)."""
QUESTIONS = 300
"""In all: of many hosts each is asked less often."""
ANSWER_S_MAX = 30.0


def clock_offsets(hosts: Sequence[Any]) -> dict[int, float]:
    """Return each host's clock less the driver's in seconds, with an error of at most half a round trip."""
    best: dict[int, tuple[float, float]] = {}
    for _ in range(max(1, min(ROUNDS, QUESTIONS // max(1, len(hosts))))):
        for number, host in enumerate(hosts):
            asked_s = time.time()
            try:
                told_s = ray.get(host.clock.remote(), timeout=ANSWER_S_MAX)
            except ray.exceptions.RayError:
                continue
            answered_s = time.time()
            trip = (answered_s - asked_s, told_s - (asked_s + answered_s) / 2)
            best[number] = min(best.get(number, trip), trip)
    return {number: offset_s for number, (_, offset_s) in best.items()}
