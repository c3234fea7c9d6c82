"""How good ten minutes are: `swarm capacity` of emulated fleets, many seeds, against a search without haste.

python benchmarks/ten_minutes.py [--seeds N] [--minutes M] FLEET=VALUE...

VALUE is the capacity that a long run shows: `--long FLEET AGENTS...` prints the share of good requests of
levels held for four hours each. Every seed prints its interval; the last line of a fleet counts how many
hold VALUE, with the median of high / low.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from swarm.commands.capacity import SLO_DEFAULT, Question, experiment_for, objective_of
from swarm.commands.costs import Budget
from swarm.config.load import LoadConfig
from swarm.config.read import read_fleet
from swarm.config.target import TargetConfig
from swarm.measure.latency import Selection, floats
from swarm.measure.slo import request_trials
from swarm.sim.look import known_of
from swarm.sim.run import simulate
from swarm.workload.source import Material

SETTLED_S, LONG_S = 900.0, 14_400.0
JOBS = 2


def question(seed: int, minutes: float, agents_max: int = 1024) -> Question:
    """Return what the command asks when nothing is stated."""
    slo = tuple(map(objective_of, SLO_DEFAULT))
    return Question(slo, None, minutes, agents_max, seed, Budget(None, True))


def searched(task: tuple[str, int, float]) -> tuple[int, dict[str, Any]]:
    """Return a seed's answer."""
    path, seed, minutes = task
    fleet = read_fleet(Path(path), [])
    experiment, _, _ = experiment_for(question(seed, minutes), known_of(fleet), TargetConfig(), fleet)
    answer = simulate(experiment, Material()).totals.capacity
    assert answer is not None
    return seed, answer


def held(task: tuple[str, int, int]) -> tuple[int, list[float]]:
    """Return the share of good requests of each objective at a level held for long."""
    path, agents, seed = task
    fleet = read_fleet(Path(path), [])
    asked = question(seed, 10.0, agents)
    experiment, size, _ = experiment_for(asked, known_of(fleet), TargetConfig(), fleet)
    ramp_s = agents * size.ramp_per_agent_s
    duration_s = ramp_s + SETTLED_S + LONG_S
    load = LoadConfig(agents=agents, ramp_s=ramp_s, duration_s=duration_s, drain_s=0.0)
    rows = simulate(experiment.model_copy(update={"load": load}), Material()).rows
    late = Selection(rows, floats(rows, "intended_s") >= ramp_s + SETTLED_S)
    shares = []
    for objective in asked.slo:
        keep, good = request_trials(objective, late)
        shares.append(float(np.mean(good[keep])))
    return agents, shares


def main() -> None:
    """Print an interval a line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--long", action="store_true")
    parser.add_argument("what", nargs="+")
    asked = parser.parse_args()
    with ProcessPoolExecutor(JOBS) as pool:
        if asked.long:
            path, *levels = asked.what
            for agents, shares in pool.map(held, [(path, int(level), 1) for level in levels]):
                print(agents, " ".join(f"{share:.4f}" for share in shares), flush=True)
            return
        for pair in asked.what:
            path, _, value = pair.partition("=")
            one_fleet(pool, path, float(value), asked.seeds, asked.minutes)


def one_fleet(pool: ProcessPoolExecutor, path: str, value: float, seeds: int, minutes: float) -> None:
    """Print a fleet's intervals."""
    holds, ratios = 0, []
    for seed, answer in pool.map(searched, [(path, seed, minutes) for seed in range(1, seeds + 1)]):
        low, high = answer["agents_low"], answer["agents_high"]
        holds += low <= value and (high is None or value <= high)
        ratios.append(float("inf") if high is None else high / max(1, low))
        walk = " ".join(f"{level['agents']}:{level['value']:.3f}" for level in answer["levels"])
        print(f"{seed:3} {low:5} {high} {answer['bound_by']}  {walk}", flush=True)
    print(f"{path}: {holds} of {seeds} hold {value:g}; median high / low {median(ratios):.2f}", flush=True)


if __name__ == "__main__":
    main()
