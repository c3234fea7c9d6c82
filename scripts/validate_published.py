"""Hold the fleet twin to published measurements of KV tiers, and print both side by side.

    python scripts/validate_published.py TRACES published_tier_results.json [--agents 16 24] [--out FILE.md]
        [--workload KEY=VALUE ...] [--agentx] [--seeds 4] [--posix 4 8 16 24]

`--workload` changes the Kimi-K3 case's sessions, as in context_scale=1.25; `--agentx` starts and caps them as
AIPerf's scenario does; `--seeds` takes means over so many. `--posix` prints means over four seeds of
experiments/posix_contended.yaml at so many sessions, and nothing else.

TRACES is a folder of recorded coding sessions (the weka format). Nothing here is fitted: the twin is the
catalogue's, and every case is one that the constants have not seen.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pyarrow.compute as pc

from swarm.config.experiment import Experiment
from swarm.config.fleet import FleetConfig, ParallelismConfig, ReplicaGroupConfig, RooflineCostConfig
from swarm.config.read import read_experiment
from swarm.fleet.cost.base import Chunk
from swarm.fleet.cost.rank_cost import rank_cost
from swarm.measure.measured_run import MeasuredRun
from swarm.sim.run import simulated
from swarm.workload.source import Material, load_scripts

HERE = Path(__file__).parents[1] / "experiments"
DRAM = "{name: dram, capacity_blocks: 11120, read_gib_per_s: 50, write_gib_per_s: 50}"
"""1,889 GB over 8 ranks, each of which copies pages of its own over its own PCIe 5 or 6 x16."""
TOKENS_ALONE = [
    "fleet.states=null",
    "fleet.block_tokens=64",
    "fleet.tiers=[{name: hbm, capacity_gib: 41.83}]",
]
"""3,249,215 tokens of 13,824 bytes: vLLM's pool by the tokens that it reports."""
ARMS = {
    "HBM, states free": TOKENS_ALONE,
    "HBM": [],
    "HBM, last states": ["fleet.states.saved=prompt_end"],
    "HBM + DRAM": [f"fleet.tiers=[{{name: hbm, capacity_blocks: 2134}}, {DRAM}]"],
}
AGENTX = {
    "start_between": "[0.25, 0.75]",
    "start_by": "time",
    "primers": "10",
    "session_idle_cap_s": "300",
    "idle_cap_s": "null",
    "system_idle_cap_s": "10",
    "subagent_start": "recorded",
    "running_subagents": "true",
}


@dataclass(frozen=True)
class Outcome:
    """What a row of the table shows."""

    ttft_p50_s: float
    out_tok_s: float
    hit: float
    input_p50: float


def twin(experiment: Experiment, scripts: Material) -> Outcome:
    """Run an experiment in virtual time."""
    run = simulated(experiment, material=scripts)
    summary = run.summary()
    return Outcome(
        summary["ttft_s"]["p50"],
        summary["throughput"]["output_tokens_per_s"],
        summary["cache"]["hit_rate"],
        median_input(run),
    )


def median_input(run: MeasuredRun) -> float:
    """Return the median prompt of the measured requests that finished, in tokens."""
    rows = run.results.rows
    mine = pc.and_(rows["measured"], pc.equal(rows["outcome"], "ok"))
    return float(np.median(rows.filter(mine)["prompt_tokens"].to_numpy()))


def kimi_k3(
    traces: Path,
    published: dict[str, Any],
    agents: list[int],
    changes: list[str],
    *,
    is_agentx: bool,
    seeds: int,
) -> list[str]:
    """Return the lines of the table: 8 x B300, so many live sessions, with and without DRAM.

    Figures are means over the seeds from 1 on; hit rates with the least and the most.
    """
    case = next(t for t in published["targets"] if t["id"] == "inferencex_kimik3_b300_tp8")
    points = {point["conc"]: point for point in case["points"]}
    scripts = None
    lines = [
        "| sessions | memory | median input | TTFT p50, s | published | output tok/s | published | hit rate "
        "| published |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for count in agents:
        started = {**AGENTX, "warm_sessions": str(count)} if is_agentx else {}
        for name, fleet in ARMS.items():
            found = []
            for seed in range(1, seeds + 1):
                asked = [
                    f"workload.path={traces}",
                    f"load.agents={count}",
                    f"fleet.replicas.0.max_sequences={2 * count}",
                    f"seed={seed}",
                    *fleet,
                    *(f"workload.{key}={value}" for key, value in started.items()),
                    *(f"workload.{change}" for change in changes),
                ]
                experiment = read_experiment(HERE / "kimi_k3.yaml", asked)
                scripts = scripts or load_scripts(experiment.workload, experiment.seed, count)
                found.append(twin(experiment, scripts))
            point = points.get(count, {}).get("hbm_dram" if "DRAM" in name else "hbm", {})
            lines.append(
                f"| {count} | {name} | {fmean(each.input_p50 for each in found) / 1e3:.0f}k | "
                f"{show(fmean(each.ttft_p50_s for each in found))} | {show(point.get('ttft_p50_s'))} | "
                f"{show(fmean(each.out_tok_s for each in found))} | {show(point.get('out_tok_s'))} | "
                f"{spread([each.hit for each in found])} | {show(point.get('prefix_hit'))} |"
            )
            print(lines[-1], flush=True)
    return lines


POSIX_ARMS = {
    "compute again": "fleet.tiers=[{name: hbm, capacity_gib: 48}]",
    "load always": "fleet.recompute_when_faster=false",
    "load where faster": "fleet.recompute_when_faster=true",
}
POSIX_SEEDS = range(1, 5)


def posix(sessions: list[int]) -> None:
    """Print the table of a shared tier that loads or computes, means over seeds."""
    print("| sessions | what misses HBM is | TTFT mean, s | p50 | p90 | hit rate | output tok/s |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for count in sessions:
        for name, change in POSIX_ARMS.items():
            rows = []
            for seed in POSIX_SEEDS:
                asked = [f"load.agents={count}", f"seed={seed}", change]
                found = simulated(read_experiment(HERE / "posix_contended.yaml", asked)).summary()
                ttft_s, rate = found["ttft_s"], found["throughput"]["output_tokens_per_s"]
                hit = found["cache"]["hit_rate"]
                rows.append((ttft_s["mean"], ttft_s["p50"], ttft_s["p90"], hit, rate))
            mean, p50, p90, hit, rate = (fmean(column) for column in zip(*rows, strict=True))
            figures = f"{mean:.2f} | {p50:.2f} | {p90:.2f} | {hit:.3f} | {rate:.0f}"
            print(f"| {count} | {name} | {figures} |", flush=True)


def long_prompt(published: dict[str, Any]) -> list[str]:
    """Return the lines of the 131,072-token case: the GPU is not stated, so several are shown."""
    entry = next(t for t in published["targets"] if t["id"] == "sglang_26305_tiers")
    case = entry["131072/512/conc1, 90% hit"]
    recompute_s, hit_s = case["recompute"][1] / 1e3, case["hbm"][1] / 1e3
    lines = [
        "| | recompute, s | HBM hit, s | ratio |",
        "| --- | --- | --- | --- |",
        f"| published | {recompute_s:.2f} | {hit_s:.2f} | {recompute_s / hit_s:.2f} |",
    ]
    for gpu, tp in (("H100", 4), ("H100", 8), ("H200", 8), ("B200", 4)):
        config = FleetConfig(
            cost=RooflineCostConfig(model="MiniMax-M2.7", backend="sglang"),
            replicas=(ReplicaGroupConfig(gpu=gpu, parallelism=ParallelismConfig(tp=tp)),),
        )
        rank = rank_cost(config, config.replicas[0])
        times = []
        for start in (0, 117_964):
            chunks = [Chunk(at, min(8_192, 131_072 - at)) for at in range(start, 131_072, 8_192)]
            entry_s = rank.entry.seconds + rank.entry.token_s * 131_072
            times.append(entry_s + sum(rank.cost.step_s([chunk], 0, 0) for chunk in chunks))
        lines.append(f"| twin, {tp} x {gpu} | {times[0]:.2f} | {times[1]:.2f} | {times[0] / times[1]:.2f} |")
    return lines


def spread(values: list[float]) -> str:
    """Return the mean, and of several values the least and the most."""
    between = f" ({min(values):.2f}-{max(values):.2f})" if len(values) > 1 else ""
    return f"{fmean(values):.2f}{between}"


def show(value: float | None) -> str:
    """Return three significant digits, or a dash."""
    return "-" if value is None else f"{value:.3g}"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("traces", type=Path)
    parser.add_argument("published", type=Path)
    parser.add_argument("--agents", type=int, nargs="*", default=[16, 24])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--workload", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--agentx", action="store_true")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--posix", type=int, nargs="*", default=[], metavar="SESSIONS")
    options = parser.parse_args()
    if options.posix:
        posix(options.posix)
        return
    published = json.loads(options.published.read_text())
    lines = [*long_prompt(published), ""]
    print("\n".join(lines))
    lines += kimi_k3(
        options.traces,
        published,
        options.agents,
        options.workload,
        is_agentx=options.agentx,
        seeds=options.seeds,
    )
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
