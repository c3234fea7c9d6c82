"""A calibrated fleet against the server that it was calibrated on, under loads that no rate was fitted on.

    python benchmarks/held_out.py http://127.0.0.1:8000 [--fleet FILE] [--only calibration loads live]

Three parts, all of them by default. Calibrate, and write FILE; with the server's counters hidden, so that
pool and block size are found by probing. Play loads twice: how far the two are apart is the server's own
noise. Search for the capacity, live and on FILE. `python -m tests.live.vllm.engine` serves a model to try.
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

TOKEN_ID_HIGH = 4_000
NOWHERE = "http://127.0.0.1:9/metrics"
LOADS = {
    "few agents, long replies": (4, 8, 3_000, 300, 150, 1.0),
    "many agents, short prompts": (16, 8, 400, 150, 32, 1.0),
    "contexts beyond the pool": (12, 8, 3_000, 300, 32, 1.0),
}
"""Agents, turns of each; median tokens of first prompt, growth and reply; mean think time in seconds."""
LOADS_CONTEXT = 16_384
"""Tokens that a server must take for them; prompts are shorter where one takes fewer."""
SECONDS = {
    "kind": "prompt_set",
    "prompt_tokens": 512,
    "turns": 50,
    "output_tokens": 24,
    "think_s": {"median": 1.0, "sigma": 0.3},
}
PARTS = ("calibration", "loads", "emulated", "live")
SLO = "effective_ttft_s p90 <= 0.5"


def agents_of(name: str, context_tokens: int | None) -> list[list[Part]]:
    """Return a load's requests; the same each time."""
    count, turns, first, growth, reply, think_s = LOADS[name]
    share = min(1.0, (context_tokens or LOADS_CONTEXT) / LOADS_CONTEXT)
    first, growth = int(share * first), int(share * growth)
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
    agents = agents_of(name, fleet.max_model_len)
    runs = []
    for repeat in range(2):
        target = OpenAITarget(config=config, seed=1, run_id=f"held-out-{name}-{repeat}")
        try:
            runs.append(await played(target, agents))
        finally:
            await target.close()
    return verdicts_of(fleet, agents, runs)


def asked_of(url: str, api: str) -> list[str]:
    """Return what a live search is told of the server: the same as the calibration."""
    return ["--target", url, "--api", api, "--set", f"target.token_id_high={TOKEN_ID_HIGH}"]


def searched(place: list[str], minutes: float, seed: int, folder: Path, name: str) -> dict[str, object]:
    """Return what a search finds."""
    workload, out = folder / "seconds.yaml", folder / name
    workload.write_text(yaml.safe_dump({"name": "seconds", "workload": SECONDS}), encoding="utf-8")
    asked = [
        "--workload",
        str(workload),
        "--minutes",
        str(minutes),
        "--seed",
        str(seed),
        "--slo",
        SLO,
        "--out",
        str(out),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "swarm", "capacity", *place, *asked], capture_output=True, text=True
    )
    print(done.stderr.strip()[-1500:], flush=True)
    found: dict[str, object] = json.loads((out / "summary.json").read_text(encoding="utf-8"))["capacity"]
    return found


def calibrated(target: TargetConfig, file: Path, rounds_max: int) -> None:
    """Calibrate, write the fleet's file, and print both."""
    config = tried(target, heed=lambda: None, note=print).target
    _, _, fleet, verdicts = asyncio.run(_calibrated(config, Course(rounds_max=rounds_max)))
    data = fleet.model_dump(mode="json", exclude_unset=True)
    data["cost"] = {"kind": "simple", **fleet.cost.model_dump(mode="json", exclude_unset=True)}
    file.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    print(file.read_text(encoding="utf-8"), flush=True)
    shown("the calibration's own", verdicts)


def main() -> None:
    """Calibrate, play, search, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("url")
    parser.add_argument("--api", default="token_ids")
    parser.add_argument("--fleet", type=Path, help="where the calibrated fleet is, or is written")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--rounds", type=int, default=Course().rounds_max, help="of probes, at most")
    parser.add_argument("--counters", action="store_true", help="let the calibration read them")
    parser.add_argument("--minutes", type=float, default=2.0, help="that a search takes")
    parser.add_argument("--seed", type=int, default=1, help="of the search")
    options = parser.parse_args()
    data = {"urls": [options.url], "api": options.api, "token_id_high": TOKEN_ID_HIGH}
    if not options.counters:
        data["metrics_urls"] = [NOWHERE]
    target = TargetConfig.model_validate(data)
    folder = Path(tempfile.mkdtemp())
    file = options.fleet or folder / "fleet.yaml"
    if "calibration" in options.only:
        calibrated(target, file, options.rounds)
    if "loads" in options.only:
        fleet = FleetConfig.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
        config = tried(target, heed=lambda: None, note=print).target
        for name in LOADS:
            shown(name, asyncio.run(held(config, fleet, name)))
    for name, place in (("emulated", ["--fleet", str(file)]), ("live", asked_of(options.url, options.api))):
        if name in options.only:
            found = searched(place, options.minutes, options.seed, folder, name)
            told = {key: found[key] for key in ("agents_low", "agents_middle", "agents_high", "bound_by")}
            print(name, told, folder / name, flush=True)


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
