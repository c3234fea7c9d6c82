"""`swarm calibrate` against `swarm serve`: what is written beside what was served, constant by constant.

    python benchmarks/calibrate_serve.py [--fleets 1,2,3,4,5] [--runs 1] [--pause-s 0.5] [--out FILE.jsonl]
    python benchmarks/calibrate_serve.py --table FILE.jsonl

Every number is a fleet whose constants are drawn, log-uniformly, from the ranges below. Server and
calibration are processes of their own. Constants are compared in percent of what was served. Counts must be
met exactly, but for a step's budget that hardly one prompt fills twice. Constants that the fleet lacks are
shown as found.
`--table` reads what several calls have appended to a file, and prints each constant's worst error.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from swarm.commands.calibrate import run_calibrate
from swarm.config.fleet import FleetConfig
from swarm.config.target import TargetConfig
from swarm.live.probing.course import Course
from swarm.streams import stream

BOUND = 0.03
SECONDS_MAX = 400.0
COUNTS = ("max_sequences", "max_batched_tokens", "block_tokens", "kv_capacity_tokens")
LONGEST_S = (0.5, 1.5)
"""What computing the longest prompt takes, attention left out."""


def drawn(number: int) -> dict[str, Any]:
    """Return the fleet of a number, as its file has it."""
    chance = stream(22, "calibrate_serve", str(number))

    def between(low: float, high: float) -> float:
        return float(f"{low * (high / low) ** chance.random():.4g}")

    rate = between(5_000, 50_000)
    context_tokens = int(2 ** np.floor(np.log2(rate * between(*LONGEST_S))))
    base_s = between(0.005, 0.025)
    max_sequences = int(between(8, 65))
    has_attention, has_chunks, has_entry_tokens = chance.random(3) < 0.5
    cost: dict[str, Any] = {
        "kind": "simple",
        "prefill_tokens_per_s": rate,
        "entry_s": between(0.005, 0.06),
        "decode_base_s": base_s,
        "decode_per_sequence_s": between(50e-6, 400e-6),
        "decode_per_context_token_s": float(f"{base_s * between(0.2, 1.0) / context_tokens:.4g}"),
        "kv_capacity_tokens": 16 * max_sequences * context_tokens // 32,
    }
    if has_attention:
        # From a fifth to the whole of what the longest prompt takes beside it.
        share = between(0.2, 1.0)
        cost["prefill_per_context_token_s"] = float(f"{2 * share / rate / context_tokens:.4g}")
    if has_chunks:
        cost["prefill_chunk_s"] = between(0.002, 0.008)
        cost["prefill_chunk_per_token_s"] = float(f"{base_s * between(0.3, 1.0) / context_tokens:.4g}")
    if has_entry_tokens:
        cost["entry_per_token_s"] = float(f"{between(0.1, 0.3) / rate:.4g}")
    budget = int(2 ** chance.integers(9, 14))
    return {
        "name": f"drawn-{number}",
        "block_tokens": int(2 ** chance.integers(4, 7)),
        "max_model_len": context_tokens,
        "cost": cost,
        "replicas": [{"max_sequences": max_sequences, "max_batched_tokens": budget}],
    }


@contextmanager
def served(fleet: dict[str, Any], folder: Path) -> Iterator[str]:
    """Serve a fleet in a process of its own; yield its URL."""
    path = folder / "served.yaml"
    path.write_text(yaml.safe_dump(fleet))
    command = [sys.executable, "-m", "swarm", "serve", str(path), "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
    finally:
        server.terminate()
        server.wait()


def flat(fleet: dict[str, Any]) -> dict[str, float]:
    """Return a fleet's constants by name."""
    found = {key: value for key, value in fleet["cost"].items() if key != "kind"}
    found |= {key: value for key, value in fleet["replicas"][0].items() if key != "count"}
    return found | {"block_tokens": fleet["block_tokens"]}


def compared(asked: dict[str, Any], written: dict[str, Any]) -> dict[str, float | None]:
    """Return each constant's relative error; of one that is 0, what it is found to be; None: not written."""
    theirs, mine = flat(asked), flat(written)
    found: dict[str, float | None] = {}
    for name, value in theirs.items():
        found[name] = None if name not in mine else mine[name] / value - 1
    for name, value in mine.items():
        if name not in theirs:
            found[f"{name} of 0"] = value
    return found


def run(number: int, folder: Path, pause_s: float) -> dict[str, Any]:
    """Serve a fleet, calibrate on it, and return what was found."""
    fleet = drawn(number)
    FleetConfig.model_validate(fleet)
    out = folder / "written.yaml"
    out.unlink(missing_ok=True)
    began_s = time.monotonic()
    with served(fleet, folder) as url:
        code = _calibrate(url, out, pause_s)
    row: dict[str, Any] = {"fleet": number, "seconds": round(time.monotonic() - began_s), "code": code}
    if out.exists():
        row["errors"] = compared(fleet, yaml.safe_load(out.read_text()))
    return row


def _calibrate(url: str, out: Path, pause_s: float) -> int:
    command = [sys.executable, __file__, "--one", url, str(out), "--pause-s", str(pause_s)]
    return subprocess.run(command, stdout=subprocess.DEVNULL, timeout=SECONDS_MAX, check=False).returncode


def is_hidden(name: str, fleet: dict[str, Any]) -> bool:
    """Return whether no prompt is long enough to show it: hardly one fills two steps."""
    longest_tokens = min(fleet["max_model_len"], fleet["cost"]["kv_capacity_tokens"] // 3)
    return name == "max_batched_tokens" and 2 * fleet["replicas"][0][name] > longest_tokens


def misses(row: dict[str, Any]) -> list[str]:
    """Return the constants of a run that are beyond their bound; all of them where no file was written."""
    fleet = drawn(row["fleet"])
    found = []
    for name, error in row.get("errors", dict.fromkeys(flat(fleet))).items():
        if name.endswith(" of 0") or (error is None and is_hidden(name, fleet)):
            continue
        if error is None or abs(error) > (0.0 if name in COUNTS else BOUND):
            found.append(name)
    return found


def table(rows: list[dict[str, Any]]) -> str:
    """Return each constant's errors over all runs."""
    lines = [f"{len(rows)} runs, {sum(not misses(row) for row in rows)} without a miss"]
    for name in sorted({name for row in rows for name in row.get("errors", {}) if " of 0" not in name}):
        errors = [row["errors"][name] for row in rows if row.get("errors", {}).get(name) is not None]
        if errors:
            worst = max(errors, key=abs)
            middle = float(np.median(np.abs(errors)))
            lines.append(f"  {name:<32} {len(errors):3} of them, median {middle:.2%}, worst {worst:+.2%}")
    return "\n".join(lines)


def shown(row: dict[str, Any]) -> str:
    """Return a run as lines."""
    lines = [f"fleet {row['fleet']}: {row['seconds']} s, exit {row['code']}"]
    constants, missed = flat(drawn(row["fleet"])), misses(row)
    for name, error in row.get("errors", {}).items():
        if name.endswith(" of 0"):
            lines.append(f"  {name:<32} {error:12.4g}")
            continue
        told = "not seen" if error is None else f"{error:+.2%}"
        lines.append(f"  {name:<32} {constants[name]:12.4g} {told:>10}{'  <--' if name in missed else ''}")
    return "\n".join(lines)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--fleets", default="1,2,3,4,5")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--pause-s", type=float, default=0.5)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--table", type=Path, help="What was appended to --out.")
    given = parser.parse_args()
    if given.table is not None:
        print(table([json.loads(line) for line in given.table.read_text().splitlines()]))
        return
    if given.one:
        target = TargetConfig(urls=(given.one[0],), api="completions")
        sys.exit(run_calibrate(target, Path(given.one[1]), course=Course(pause_s=given.pause_s)))
    for _ in range(given.runs):
        for number in map(int, given.fleets.split(",")):
            with tempfile.TemporaryDirectory() as folder:
                row = run(number, Path(folder), given.pause_s)
            print(shown(row), flush=True)
            if given.out is not None:
                with given.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
