"""How far the hosts' wall clocks are from the driver's: they put all times of a run on one axis."""

from __future__ import annotations

from collections.abc import Mapping

from swarm.live.clock import Clock
from swarm.live.driver.launcher import HostProcess, Launcher, answer

ROUNDS = 5
"""Questions to each host; the quickest answer tells most, as in NTP (RFC 5905, 10)."""
QUESTIONS = 300
"""In all: of many hosts each is asked less often."""
ANSWER_S_MAX = 30.0


def clock_offsets(hosts: Mapping[int, HostProcess], launcher: Launcher, clock: Clock) -> dict[int, float]:
    """Return each host's clock less the driver's in seconds, with an error of at most half a round trip."""
    best: dict[int, tuple[float, float]] = {}
    for _ in range(max(1, min(ROUNDS, QUESTIONS // max(1, len(hosts))))):
        for number, host in hosts.items():
            asked_s = clock.unix_s()
            host_s = answer(launcher, host.clock(), ANSWER_S_MAX)
            if host_s is None:
                continue
            answered_s = clock.unix_s()
            trip = (answered_s - asked_s, host_s - (asked_s + answered_s) / 2)
            best[number] = min(best.get(number, trip), trip)
    return {number: offset_s for number, (_, offset_s) in best.items()}
