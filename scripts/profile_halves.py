"""How well a profile fitted on some recorded sessions, half by default, stands for the others.

    python scripts/profile_halves.py TRACES [--fitted 60] [--sampled 60] [--splits 16] [--seeds 2]
        [--split-seed 7] [--recorded]

For each random split: an error of the sessions sampled from the fitted ones' profile against the others,
divided by max(limit, 1.25 x the error of the fitted ones themselves against them). At most 1 is the aim.
Printed are the mean, the highest and how many pass 1. `--recorded` draws from the fitted sessions themselves,
with replacement, in place of a profile: what chance alone makes of the most faithful of samplers.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from swarm.report.fit.comparison import CAPACITIES, TTLS_S, Compared, distance, summed_up
from swarm.workload.formats import read_sessions
from swarm.workload.profile.fitted import fit
from swarm.workload.profile.generated import generate
from swarm.workload.recorded import RecordedSession

LIMITS = {
    "input tokens": 0.05,
    "output tokens": 0.05,
    "gap between requests (s)": 0.05,
    "growth per turn (tokens)": 0.05,
    "requests per session": 0.08,
}
TTL_LIMIT, REPREFILL_LIMIT, LRU_LIMIT = 0.02, 0.15, 0.03
OWN_SHARE = 1.25


def errors(one: Compared, other: Compared) -> dict[str, float]:
    """Return how far a set is from another: KS distances, hit rates, prefills in proportion."""
    found = {name: distance(one.samples[name], other.samples[name]) for name in LIMITS}
    for ttl_s, mine, theirs in zip(TTLS_S, one.ttl_hit_rates, other.ttl_hit_rates, strict=True):
        found[f"hit rate, TTL {ttl_s}"] = abs(mine - theirs)
    for ttl_s, mine, theirs in zip(TTLS_S, one.reprefills, other.reprefills, strict=True):
        found[f"prefills, TTL {ttl_s}"] = abs(mine / theirs - 1.0)
    for size, mine, theirs in zip(CAPACITIES, one.lru_hit_rates, other.lru_hit_rates, strict=True):
        found[f"hit rate, {size / 1e6:g}M tokens"] = abs(mine - theirs)
    return found


def limit_of(name: str) -> float:
    """Return what an error may be, whatever the fitted ones' own."""
    if name in LIMITS:
        return LIMITS[name]
    if name.startswith("prefills"):
        return REPREFILL_LIMIT
    return TTL_LIMIT if "TTL" in name else LRU_LIMIT


def again(sessions: Sequence[RecordedSession], chosen: Sequence[int]) -> Iterator[RecordedSession]:
    """Yield the chosen sessions, each with blocks of its own however often it was chosen."""
    for number, index in enumerate(chosen):
        yield replace(sessions[index], id=f"{number}", namespace=f"{number}")


def main() -> None:
    """Split, fit, sample, compare, tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("traces", type=Path)
    parser.add_argument("--fitted", type=int, help="sessions to fit on; default half of them")
    parser.add_argument("--sampled", type=int, help="sessions to sample; default as many as are kept")
    parser.add_argument("--splits", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--split-seed", type=int, default=7)
    parser.add_argument("--recorded", action="store_true", help="draw recorded sessions, not a profile's")
    options = parser.parse_args()
    sessions = list(read_sessions(options.traces, "weka"))
    count = options.fitted or (len(sessions) + 1) // 2
    chance = np.random.default_rng(options.split_seed)
    ratios: dict[str, list[float]] = {}
    for _ in range(options.splits):
        order = chance.permutation(len(sessions))
        fitted, kept = ([sessions[k] for k in part] for part in np.split(order, [count]))
        truth = summed_up(kept)
        own = errors(summed_up(fitted), truth)
        drawn = options.sampled or len(kept)
        profile = None if options.recorded else fit(fitted, name="some")
        for seed in range(1, options.seeds + 1):
            if profile is None:
                chosen = np.random.default_rng(seed).integers(len(fitted), size=drawn)
                sampled = summed_up(again(fitted, chosen.tolist()))
            else:
                sampled = summed_up(generate(profile, sessions=drawn, seed=seed))
            for name, error in errors(sampled, truth).items():
                ratio = error / max(limit_of(name), OWN_SHARE * own[name])
                ratios.setdefault(name, []).append(ratio)
    for kind in ("TTL", "M tokens"):
        of_kind = [found for name, found in ratios.items() if kind in name]
        ratios[f"largest of {kind}"] = np.max(of_kind, axis=0).tolist()
    for name, found in ratios.items():
        above = sum(ratio > 1 for ratio in found)
        print(f"{name:26s} mean {np.mean(found):.2f} max {max(found):.2f} above 1: {above} of {len(found)}")


if __name__ == "__main__":
    main()
