"""CPU of `swarm simulate`, a request: agents, kernel, fleet, rows, windows and summary on one core.

    python benchmarks/simulate.py [--agents 100 1000 10000] [--requests 20000] [--profile]

Coding agents with contexts of about 100k tokens, over four replicas and three tiers that grow with the number
of agents, so that the load of a replica does not depend on it; a run has 20 requests an agent at least. Goal:
>= 10,000 requests per CPU-second, and a cost per request within 2 x from 100 to 10,000 agents. What is
charged is everything from the start of the simulation to its summary and tables; reading the experiment and
drawing the report are not. For the compiled fleet: `pip install --no-deps --target DIR .`, then
`PYTHONPATH=DIR python -P benchmarks/simulate.py`.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import pstats
import resource
import time
from typing import Any

from swarm.config.experiment import Experiment
from swarm.kvcache import runs
from swarm.measure.series import series
from swarm.measure.summary import summarize
from swarm.measure.totals import facts_of
from swarm.records.rows import warm_up
from swarm.sim.run import simulate
from swarm.workload.source import Material

REQUESTS_PER_AGENT_S = 0.044
"""What this workload comes to, sub-agents included: it sets how long a run must last."""
REQUESTS_PER_AGENT_LEAST = 20
"""Of a run: one that ends when its agents have hardly begun measures their starts and cold prefills."""


def experiment(agents: int, duration_s: float) -> Experiment:
    """Return the benchmark's experiment for a number of agents."""
    scale = agents / 1000
    fleet: dict[str, Any] = {
        "cost": {
            "kind": "simple",
            "prefill_tokens_per_s": 100_000 * scale,
            "decode_base_s": 0.01,
            "decode_per_context_token_s": 5e-10 / scale,
            "kv_bytes_per_token": 65_536,
            "kv_capacity_tokens": int(14_000_000 * scale),
        },
        "replicas": [
            {
                "count": 4,
                "max_sequences": int(512 * max(1, scale)),
                "max_batched_tokens": int(8192 * max(1, scale)),
            }
        ],
        "tiers": [
            {"name": "hbm"},
            {
                "name": "dram",
                "capacity_gib": 2000 * scale,
                "read_gib_per_s": 200 * scale,
                "write_gib_per_s": 200 * scale,
            },
            {
                "name": "nvme",
                "scope": "cluster",
                "capacity_gib": 8000 * scale,
                "read_gib_per_s": 200 * scale,
                "write_gib_per_s": 100 * scale,
                "read_latency_s": 0.0005,
            },
        ],
    }
    return Experiment.model_validate(
        {
            "name": "simulate",
            "workload": {
                "kind": "synthetic",
                "warm_start": True,
                "idle_cap_s": 120,
                "first_context": {"median": 70_000, "sigma": 0.3, "least": 20_000, "most": 140_000},
            },
            "load": {"agents": agents, "ramp_s": 60, "duration_s": duration_s, "drain_s": 60},
            "fleet": fleet,
            "window_s": 10.0,
        }
    )


def run(agents: int, requests: int) -> tuple[float, str]:
    """Return CPU seconds a request, and a note on what was simulated."""
    requests = max(requests, REQUESTS_PER_AGENT_LEAST * agents)
    config = experiment(agents, 60 + requests / (REQUESTS_PER_AGENT_S * agents))
    gc.collect()
    started_s = time.process_time()
    settled = simulate(config, Material())
    simulated_s = time.process_time()
    facts = facts_of(config, run_id="benchmark", mode="simulate", is_emulated=True)
    summary = summarize(settled.rows, facts=facts, totals=settled.totals)
    windows = series(settled.windows)
    cpu_s = time.process_time() - started_s
    sent = summary["requests"]["sent"]
    tokens, cache = summary["tokens"], summary["cache"]
    simulating_us = (simulated_s - started_s) / sent * 1e6
    memory_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return cpu_s / sent, (
        f"{sent:6d} requests in {config.load.duration_s:6.0f} s, prompt {tokens['prompt'] / sent:7.0f}, "
        f"hit rate {cache['hit_rate']:.3f}, {summary['live_agents_mean']:.0f} live, "
        f"{simulating_us:5.1f} us simulated, {cpu_s / sent * 1e6 - simulating_us:4.1f} us in summary and "
        f"{windows.num_rows} windows; {memory_mib} MiB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    warm_up()
    print("plain" if runs.__file__.endswith(".py") else "compiled")
    for agents in options.agents:
        profile = cProfile.Profile()
        if options.profile:
            profile.enable()
        cpu_s, note = run(agents, options.requests)
        profile.disable()
        print(f"{agents:6d} agents: {1 / cpu_s:7.0f} requests/CPU-s; {note}", flush=True)
        if options.profile:
            pstats.Stats(profile).sort_stats("tottime").print_stats(50)


if __name__ == "__main__":
    main()
