"""CPU time of `swarm analyze --json` beside that of reading the same files with the standard library's json.

usage: python benchmarks/analyze.py FOLDER [ROUNDS]

Whole processes, user + system, alternating; four TTLs and seven capacities. A ratio up to 2 is the aim.
"""

from __future__ import annotations

import platform
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

READ = "import json,sys\nfor name in sys.argv[1:]:\n    with open(name) as file: json.load(file)"


def cpu_s(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    folder = Path(sys.argv[1])
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    files = sorted(str(file) for file in folder.glob("*.json"))
    mib = sum(Path(file).stat().st_size for file in files) / 2**20
    reads, analyses = [], []
    with tempfile.TemporaryDirectory() as scratch:
        target = str(Path(scratch) / "result.json")
        swarm = [sys.executable, "-c", "from swarm.cli import main; main()"]
        for _ in range(rounds):
            reads.append(cpu_s([sys.executable, "-c", READ, *files]))
            analyses.append(cpu_s([*swarm, "analyze", str(folder), "--json", target]))
    ratios = sorted(ours / theirs for ours, theirs in zip(analyses, reads, strict=True))
    print(f"{len(files)} files, {mib:.0f} MiB; Python {platform.python_version()}, {platform.machine()}")
    print(f"json.load      {statistics.median(reads):.2f} s")
    print(f"swarm analyze  {statistics.median(analyses):.2f} s")
    print(f"ratio          {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    main()
