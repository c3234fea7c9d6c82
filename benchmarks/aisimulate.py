"""The same recorded requests through `swarm simulate` and AISimulate: CPU a request, and what each says.

    python benchmarks/aisimulate.py TRACE [--command aisimulate] [--requests 600 2400]

TRACE is a Mooncake file (FAST'25: `timestamp`, `input_length`, `output_length`, `hash_ids` of 512 tokens).
Both play its first requests at their recorded times on four instances of Qwen3-32B (bf16, 4 x H100, vLLM,
round robin, HBM alone). CPU is user and system time of the whole command; from two lengths the difference
counts, so that what a start costs does not. AISimulate 0.13 computes its steps in Rust; released wheels come
from pypi.nvidia.com, some pre-releases from the package index.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

AISIMULATE = """
engine:
  mode: aggregated
  model: Qwen/Qwen3-32B
  hardware: h100_sxm
  backend: vllm
  workers: {{aggregated: {{parallelism: {{replicas: 4, tensor: 4}}}}}}
traffic:
  source: {{type: trace, paths: [{trace}], format: mooncake, block_size: 512}}
  load: {{type: trace_timestamps}}
"""
SWARM = """
name: mooncake
workload: {{kind: replay, path: {trace}, format: mooncake, timing: original, order: file, replies: planned}}
load: {{shape: {{kind: recorded}}, duration_s: null, drain_s: 0}}
fleet:
  block_tokens: 64
  router: round_robin
  cost: {{kind: roofline, model: Qwen3-32B, precision: bf16, backend: vllm}}
  replicas: [{{gpu: H100, count: 4, parallelism: {{tp: 4}}}}]
"""


def cpu_s(command: list[str]) -> float:
    """Run a command to its end and return its CPU seconds; an invalid run of ours has run all the same."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        raise SystemExit(f"{command[0]}: exit {process.returncode}: {said.decode()[-2000:]}")
    return usage.ru_utime + usage.ru_stime


def aisimulate(command: str, trace: Path, folder: Path) -> tuple[float, dict[str, Any]]:
    """Return AISimulate's CPU seconds and figures."""
    (folder / "p.yaml").write_text(AISIMULATE.format(trace=trace))
    seconds = cpu_s([command, "predict", "-c", str(folder / "p.yaml"), "--output-dir", str(folder / "out")])
    found = json.loads((folder / "out" / "prediction.json").read_text())
    return seconds, {
        "requests": found["completed_requests"],
        "hit rate": found["prefix_cache_reused_ratio"],
        "TTFT mean, s": found["mean_ttft_ms"] / 1e3,
        "TTFT p50, s": found["median_ttft_ms"] / 1e3,
        "TPOT p50, s": found["median_tpot_ms"] / 1e3,
        "output tok/s": found["output_throughput_tok_s"],
    }


def swarm(trace: Path, folder: Path) -> tuple[float, dict[str, Any]]:
    """Return this simulator's CPU seconds and figures."""
    (folder / "s.yaml").write_text(SWARM.format(trace=trace))
    command = [sys.executable, "-P", "-m", "swarm", "simulate"]
    seconds = cpu_s([*command, str(folder / "s.yaml"), "--out", str(folder / "run")])
    found = json.loads((folder / "run" / "summary.json").read_text())
    return seconds, {
        "requests": found["requests"]["finished"],
        "hit rate": found["cache"]["hit_rate"],
        "TTFT mean, s": found["ttft_s"]["mean"],
        "TTFT p50, s": found["ttft_s"]["p50"],
        "TPOT p50, s": found["tpot_s"]["p50"],
        "output tok/s": found["throughput"]["output_tokens_per_s"],
    }


def main() -> None:
    """Run both at each length, print figures and the cost of a further request."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("trace", type=Path)
    parser.add_argument("--command", default="aisimulate")
    parser.add_argument("--requests", type=int, nargs=2, default=[600, 2400])
    options = parser.parse_args()
    spent: dict[str, list[tuple[int, float]]] = {"swarm": [], "AISimulate": []}
    for requests in options.requests:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            with options.trace.open() as lines:
                (folder / "t.jsonl").write_text("".join(islice(lines, requests)))
            ours = swarm(folder / "t.jsonl", folder)
            theirs = aisimulate(options.command, folder / "t.jsonl", folder)
        print(f"{requests} requests                swarm   AISimulate")
        for name, value in ours[1].items():
            print(f"  {name:24} {value:10.4g} {theirs[1][name]:12.4g}")
        print(f"  {'CPU, s':24} {ours[0]:10.4g} {theirs[0]:12.4g}", flush=True)
        spent["swarm"].append((ours[1]["requests"], ours[0]))
        spent["AISimulate"].append((theirs[1]["requests"], theirs[0]))
    for name, ((few, least_s), (many, most_s)) in spent.items():
        print(f"{name}: {(most_s - least_s) / (many - few) * 1e6:.0f} us a further request")


if __name__ == "__main__":
    main()
