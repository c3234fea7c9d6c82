"""What the start of hosts costs: benchmarks/hosts_start.py [--hosts 1 10 50]

Starts as many hosts as a run does, through the same launcher and all at once, on a Ray of its own. Wall time
is until the last of them is ready; CPU is user and system time of each host's process at that moment, from
its very start, and of Ray's own processes meanwhile. PSS is memory with shared pages split among those who
share them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from swarm.cluster.launcher import RayLauncher
from swarm.cluster.session import ray_session
from swarm.config.experiment import Experiment
from swarm.live.clock import SystemClock
from swarm.live.coordinator import CoordinatorPlan
from swarm.live.driver.plans import HostPlans
from swarm.live.driver.processes import HostProcesses
from swarm.load.pacing import pacing_of
from swarm.workload.source import Material

TICKS = os.sysconf("SC_CLK_TCK")
EXPERIMENT = Experiment.model_validate(
    {
        "name": "start",
        "workload": {"kind": "synthetic"},
        "load": {"agents": 10_000},
        "target": {"urls": ["http://127.0.0.1:9"], "model": "m", "bytes_per_token": 4, "overhead_tokens": 0},
    }
)


@dataclass(frozen=True)
class Used:
    """A process's CPU and memory."""

    name: str
    cpu_s: float
    pss_bytes: int


def processes() -> dict[int, Used]:
    """Return the processes of this one's descent, by pid."""
    parents: dict[int, int] = {}
    found: dict[int, Used] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            name = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            rollup = (entry / "smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        pss = next((int(line.split()[1]) * 1024 for line in rollup if line.startswith("Pss:")), 0)
        parents[int(entry.name)] = int(fields[1])
        found[int(entry.name)] = Used(name, (int(fields[11]) + int(fields[12])) / TICKS, pss)
    return {pid: used for pid, used in found.items() if _descends(pid, parents)}


def _descends(pid: int, parents: dict[int, int]) -> bool:
    while pid > 1:
        if pid == os.getpid():
            return True
        pid = parents.get(pid, 0)
    return False


def start(count: int) -> str:
    """Start so many hosts; return what that took."""
    with tempfile.TemporaryDirectory() as folder, ray_session(name=f"start-{count}"):
        launcher = RayLauncher(f"start-{count}")
        contact = launcher.start_coordinator(CoordinatorPlan(EXPERIMENT, folder, 0))
        launcher.wait([contact.snapshot()], 60.0)
        launcher.ship(Material())
        pacing = pacing_of(EXPERIMENT.load, None, EXPERIMENT.seed, ())
        plans = HostPlans(EXPERIMENT, pacing, hosts_count=count, journals=Path(folder), run_id="start")
        hosts = HostProcesses(EXPERIMENT.hosts, launcher)
        before, began_s = processes(), time.monotonic()
        for host in range(count):
            hosts.start(plans.first(host, 0))
        hosts.wait_until_ready(SystemClock(), lambda: None, lambda text: None)
        wall_s, after = time.monotonic() - began_s, processes()
        own = [used for used in after.values() if used.name.startswith("ray::RemoteHost")]
        others = sum(used.cpu_s for used in after.values() if used not in own) - sum(
            used.cpu_s for used in before.values()
        )
        launcher.close()
    return (
        f"{count:4} hosts: ready after {wall_s:5.1f} s   CPU of a host {statistics.mean(u.cpu_s for u in own):.2f} s, "
        f"of Ray beside it {others / count:.2f} s   PSS {statistics.mean(u.pss_bytes for u in own) / 2**20:.0f} MiB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hosts", type=int, nargs="+", default=[1, 10, 50])
    arguments = parser.parse_args()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    for count in arguments.hosts:
        print(start(count), flush=True)


if __name__ == "__main__":
    main()
