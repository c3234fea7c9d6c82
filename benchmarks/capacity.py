"""How often a search's interval holds the true capacity: fleets with closed forms, many seeds.

python benchmarks/capacity.py [SEEDS] [ORACLE...]
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "load"))

from oracles import ORACLES, is_covered

from swarm.sim.run import simulate
from swarm.workload.source import Material


def main(seeds: int, names: list[str]) -> None:
    """Print a line for each fleet."""
    print(f"{'fleet':<10}{'seeds':>7}{'covered':>9}{'widest':>8}{'wrong':>7}{'requests':>10}{'CPU s':>8}")
    for name in names:
        begun_s = time.process_time()
        covered = widest = wrong = requests = 0
        for seed in range(1, seeds + 1):
            oracle = ORACLES[name](seed)
            settled = simulate(oracle.experiment, Material())
            answer = settled.totals.capacity
            assert answer is not None
            requests += settled.rows.num_rows
            covered += is_covered(answer, oracle.truth)
            low, high = answer["agents_low"], answer["agents_high"]
            wrong += high is not None and not low <= oracle.truth <= high
            if seed % 20 == 0:
                print(f"{name}: {covered} of {seed}", file=sys.stderr, flush=True)
            widest = max(widest, (high or 10**6) - low)
        used_s = time.process_time() - begun_s
        print(
            f"{name:<10}{seeds:>7}{covered:>9}{widest:>8}{wrong:>7}{requests:>10}{used_s:>8.1f}", flush=True
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200, sys.argv[2:] or list(ORACLES))
