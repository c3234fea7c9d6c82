"""Hash what every shipped simulated experiment leaves, or hold it against hashes taken before a change.

    python scripts/same_results.py --write before.json
    python scripts/same_results.py --against before.json

Each experiment is simulated once, at the seed that its file names; a sweep point by point. Differences are
printed by experiment, file and key, points of a sweep counted together. Exit 1 where anything differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

EXPERIMENTS = Path(__file__).resolve().parents[1] / "experiments"
FILES = ("summary.json", "requests.parquet", "windows.parquet")
LIVE_ONLY = ("capacity_live.yaml",)
POINT = re.compile(r"points/[^/]+/")
SETTINGS = {"thousands.yaml": ["load.duration_s=120"]}
"""Changes that keep an experiment within a minute."""


def results_of(experiment: Path, scratch: Path) -> dict[str, Any]:
    """Return hashes and summaries by `folder/file` of what a simulation of an experiment leaves."""
    out = scratch / experiment.stem
    settings = [part for change in SETTINGS.get(experiment.name, []) for part in ("--set", change)]
    command = ["swarm", "simulate", str(experiment), *settings, "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode not in (0, 1, 99):
        sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr[-2000:]}")
    found: dict[str, Any] = {"exit": done.returncode}
    for name in FILES:
        for path in sorted(out.rglob(name)):
            key = str(path.relative_to(out))
            found[key] = hashlib.sha256(path.read_bytes()).hexdigest()
            if name == "summary.json":
                found[f"{key}:values"] = json.loads(path.read_text())
    return found


def differences(before: Any, after: Any, at: str) -> list[str]:
    """Return where two values differ, leaf by leaf."""
    if isinstance(before, dict) and isinstance(after, dict):
        keys = dict.fromkeys((*before, *after))
        return [d for key in keys for d in differences(before.get(key), after.get(key), f"{at}.{key}")]
    return [] if before == after else [f"{at}: {str(before)[:120]} -> {str(after)[:120]}"]


def kinds(found: list[str]) -> list[str]:
    """Return one line for each file or key that differs, with an example and in how many points it does."""
    by_key: dict[str, list[str]] = {}
    for line in found:
        place, _, change = line.partition(": ")
        by_key.setdefault(POINT.sub("", place), []).append(change)
    return [f"  {key}: {len(changes)} x, such as {changes[0]}" for key, changes in by_key.items()]


def main() -> int:
    """Write hashes, or print what differs from them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--write", type=Path, help="where to write the hashes")
    parser.add_argument("--against", type=Path, help="hashes of before")
    parser.add_argument("--only", action="append", help="an experiment's name; again for more")
    asked = parser.parse_args()
    before = json.loads(asked.against.read_text()) if asked.against else None
    found, different = {}, 0
    with tempfile.TemporaryDirectory(prefix="swarm-same-") as scratch:
        for experiment in sorted(EXPERIMENTS.glob("*.yaml")):
            if experiment.name in LIVE_ONLY or (asked.only and experiment.stem not in asked.only):
                continue
            found[experiment.stem] = results_of(experiment, Path(scratch))
            if before is None or experiment.stem not in before:
                print(f"{experiment.stem}: {len(found[experiment.stem])} values", flush=True)
                continue
            told = differences(before[experiment.stem], found[experiment.stem], experiment.stem)
            different += bool(told)
            print(
                "\n".join([f"{experiment.stem}: {'differs' if told else 'the same'}", *kinds(told)]),
                flush=True,
            )
    if asked.write:
        asked.write.write_text(json.dumps(found))
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
