"""A calibrated fleet against the server that it was calibrated on, under loads that no rate was fitted on.

    python benchmarks/held_out.py http://127.0.0.1:8000 [--api token_ids] [--minutes 2]

Prints a table: each load is played twice, and how far the two are apart is the server's own noise. The
server's counters are hidden from the calibration, so that pool and block size are found by probing. Then a
search of so many minutes, live and on the fleet.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from swarm.commands.calibrate import Verdict, _calibrated, verdicts_of
from swarm.config.fleet import FleetConfig
from swarm.config.target import TargetConfig
from swarm.context.tree import Node, Prompt
from swarm.fleet.rehearsal import Part
from swarm.live.preflight import tried
from swarm.live.probing.course import Course
from swarm.live.probing.heldout import played
from swarm.live.targets.openai import OpenAITarget
from swarm.streams import stream

NOWHERE = "http://127.0.0.1:9/metrics"
LOADS = {
    "few agents, long replies": (4, 8, 3_000, 300, 150, 1.0),
    "many agents, short prompts": (16, 8, 400, 150, 32, 1.0),
    "contexts beyond the pool": (12, 8, 3_000, 300, 32, 1.0),
}
"""Agents, turns of each; median tokens of first prompt, growth and reply; mean think time in seconds."""
SECONDS = {
    "kind": "prompt_set",
    "prompt_tokens": 512,
    "turns": 50,
    "output_tokens": 24,
    "think_s": {"median": 1.0, "sigma": 0.3},
}
SLO = "effective_ttft_s p90 <= 0.5"


def agents_of(name: str) -> list[list[Part]]:
    """Return a load's requests; the same each time."""
    count, turns, first, growth, reply, think_s = LOADS[name]
    shared = Prompt(Node(f"benchmark/{name}"), first // 4)
    agents = []
    for number in range(count):
        chance = stream(7, name, str(number))
        prompt = shared.branch(f"benchmark/{name}/{number}").extend(int(first * chance.lognormal(0, 0.4)))
        parts = []
        for _ in range(turns):
            tokens = max(4, int(reply * chance.lognormal(0, 0.4)))
            parts.append(Part(float(chance.exponential(think_s)), prompt, tokens))
            prompt = prompt.extend(max(1, int(growth * chance.lognormal(0, 0.6))))
        agents.append(parts)
    return agents


async def held(config: TargetConfig, fleet: FleetConfig, name: str) -> list[Verdict]:
    """Play a load twice, and hold the fleet's prediction against it."""
    agents = agents_of(name)
    runs = []
    for repeat in range(2):
        target = OpenAITarget(config=config, seed=1, run_id=f"held-out-{name}-{repeat}")
        try:
            runs.append(await played(target, agents))
        finally:
            await target.close()
    return verdicts_of(fleet, agents, runs)


def searched(place: list[str], minutes: float, folder: Path, name: str) -> dict[str, object]:
    """Return what a search finds."""
    workload, out = folder / "seconds.yaml", folder / name
    workload.write_text(yaml.safe_dump({"name": "seconds", "workload": SECONDS}), encoding="utf-8")
    asked = ["--workload", str(workload), "--minutes", str(minutes), "--slo", SLO, "--out", str(out)]
    done = subprocess.run(
        [sys.executable, "-m", "swarm", "capacity", *place, *asked], capture_output=True, text=True
    )
    print(done.stderr.strip()[-1500:], flush=True)
    found: dict[str, object] = json.loads((out / "summary.json").read_text(encoding="utf-8"))["capacity"]
    return found


def main() -> None:
    """Calibrate, play, search, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("url")
    parser.add_argument("--api", default="token_ids")
    parser.add_argument("--minutes", type=float, default=2.0)
    options = parser.parse_args()
    open_config = TargetConfig.model_validate(
        {"urls": [options.url], "api": options.api, "token_id_high": 4_000}
    )
    hidden = open_config.model_copy(update={"metrics_urls": (NOWHERE,)})
    config = tried(hidden, heed=lambda: None, note=print).target
    _, _, fleet, verdicts = asyncio.run(_calibrated(config, Course()))
    file = Path(tempfile.mkdtemp()) / "fleet.yaml"
    data = fleet.model_dump(mode="json", exclude_unset=True)
    data["cost"] = {"kind": "simple", **fleet.cost.model_dump(mode="json", exclude_unset=True)}
    file.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    print(file.read_text(encoding="utf-8"), flush=True)
    shown("the calibration's own", verdicts)
    for name in LOADS:
        shown(name, asyncio.run(held(config, fleet, name)))
    for name, place in (("emulated", ["--fleet", str(file)]), ("live", ["--target", options.url])):
        found = searched(place, options.minutes, file.parent, name)
        print(name, {key: found[key] for key in ("agents_low", "agents_middle", "agents_high", "bound_by")})


def shown(name: str, verdicts: list[Verdict]) -> None:
    """Print a load's rows."""
    for each in verdicts:
        scale, unit = (1.0, "%") if each.name == "hits" else (1e3, "ms")
        error = f"{each.error:+.1f} points" if each.name == "hits" else f"{each.error:+.0%}"
        noise = f"{each.noise:.1f} points" if each.name == "hits" else f"{each.noise:.0%}"
        told = (f"{value * scale:.1f} {unit}" for value in (each.predicted, each.observed))
        print("| " + " | ".join((name, each.name, *told, error, noise)) + " |", flush=True)


if __name__ == "__main__":
    main()
